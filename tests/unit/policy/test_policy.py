from dataclasses import replace

import pytest

from wain.base.errors import Refused
from wain.policy.policy import InitialBackup, Policy
from wain.policy.retention import Retention
from wain.policy.schedule import Schedule

OFFLINE = Policy((b"/srv",), initial=InitialBackup.OFFLINE, order="seed-1", device="/mnt/box")


def test_defaults():
    policy = Policy((b"/srv",))
    assert policy.initial is InitialBackup.ONLINE
    assert policy.schedule == Schedule()
    assert policy.retention == Retention()
    assert policy.gap_cover
    assert (policy.exclude_caches, policy.one_file_system, policy.excludes) == (False, False, ())
    assert policy.max_file_bytes is None
    assert policy.parity_percent == 6


def test_includes_are_sorted_without_doubles():
    policy = Policy((b"/srv/b", b"/srv", b"/srv!", b"/", b"/srv/b", b"/\xff"))
    assert policy.includes == (b"/", b"/srv", b"/srv/b", b"/srv!", b"/\xff")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"", "not an absolute path"),
        (b"srv", "not an absolute path"),
        (b"/a\0b", "not an absolute path"),
        (b"/srv/", "not a clean path"),
        (b"/srv//a", "not a clean path"),
        (b"//srv", "not a clean path"),
        (b"/srv/../a", "not a clean path"),
        (b"/srv/.", "not a clean path"),
    ],
)
def test_includes_are_clean_absolute_paths(path, reason):
    with pytest.raises(Refused, match=reason):
        Policy((b"/fine", path))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"includes": ()}, "protects nothing"),
        ({"excludes": ("[",)}, "not a pattern"),
        ({"max_file_bytes": 0}, "at least 1 byte"),
        ({"parity_percent": 7}, "parity of 7 % cannot be written"),
        ({"parity_percent": -3}, "cannot be written"),
        ({"order": None}, "needs a Data Box order"),
        ({"order": ""}, "needs a Data Box order"),
        ({"initial": InitialBackup.ONLINE}, "uses neither"),
        ({"initial": InitialBackup.ONLINE, "order": None}, "uses neither"),
        ({"includes": tuple(b"/%d" % number for number in range(10_001))}, "at most 10,000"),
    ],
)
def test_what_breaks_a_rule_is_refused(changes, reason):
    with pytest.raises(Refused, match=reason):
        replace(OFFLINE, **changes)


@pytest.mark.parametrize("percent", [0, 3, 6, 9, 12])
def test_parity_comes_in_steps(percent):
    assert replace(OFFLINE, parity_percent=percent).parity_percent == percent


def test_the_device_may_be_detected_later():
    assert replace(OFFLINE, device=None).device is None
