import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.errors import Refused
from wain.policy.exclusion import Exclusions


@pytest.mark.parametrize(
    ("pattern", "path", "is_directory", "out"),
    [
        # A literal name, at any depth.
        ("cache", b"/cache", True, True),
        ("cache", b"/home/a/cache", False, True),
        ("cache", b"/home/a/cache2", False, False),
        ("cache", b"/home/cache/a", False, False),
        ("cache", b"/", True, False),
        # Stars and question marks stay within a name.
        ("*.iso", b"/a/b.iso", False, True),
        ("*.iso", b"/a/.iso", False, True),
        ("*.iso", b"/a.iso/b", False, False),
        ("*.iso", b"/a/b.iso2", False, False),
        ("*.ISO", b"/a/b.iso", False, False),
        ("*", b"/anything", False, True),
        ("a?c", b"/x/abc", False, True),
        ("a?c", b"/x/ac", False, False),
        ("a?c", "/x/a\u00fcc".encode(), False, True),
        ("a?c", b"/x/a\xffc", False, True),
        ("a*b*c", b"/a--b--b--c", False, True),
        ("a*b*c", b"/a--c--b", False, False),
        ("*ab", b"/aab", False, True),
        ("*ab*ab", b"/abab", False, True),
        ("*ab*ab", b"/aab", False, False),
        # Anchored at the root.
        ("/var/tmp", b"/var/tmp", True, True),
        ("/var/tmp", b"/srv/var/tmp", True, False),
        ("/var/tmp", b"/var/tmp/x", False, False),
        ("/var", b"/var", False, True),
        ("/*", b"/var", True, True),
        ("/*", b"/var/tmp", True, False),
        # A path of several parts, at any depth.
        ("cache/tmp", b"/cache/tmp", False, True),
        ("cache/tmp", b"/home/a/cache/tmp", False, True),
        ("cache/tmp", b"/home/mycache/tmp", False, False),
        ("cache/*/x", b"/cache/1/x", False, True),
        ("cache/*/x", b"/cache/1/2/x", False, False),
        # Directories only.
        ("build/", b"/a/build", True, True),
        ("build/", b"/a/build", False, False),
        ("b*d/", b"/a/build", True, True),
        ("b*d/", b"/a/build", False, False),
        ("/a/build/", b"/a/build", True, True),
        ("/a/build/", b"/a/build", False, False),
        ("build//", b"/a/build", True, None),
        # Any number of parts.
        ("/a/**/z", b"/a/z", False, True),
        ("/a/**/z", b"/a/b/c/z", False, True),
        ("/a/**/z", b"/a/b/c/zz", False, False),
        ("/a/**/z", b"/a/bz", False, False),
        ("/a/**", b"/a/b", False, True),
        ("/a/**", b"/a/b/c", False, True),
        ("/a/**", b"/a", True, False),
        ("**/z", b"/z", False, True),
        ("**/z", b"/a/b/z", False, True),
        ("x/**/y/*.o", b"/q/x/1/2/y/a.o", False, True),
        ("x/**/y/*.o", b"/q/x/1/2/y/3/a.o", False, False),
        ("/**", b"/a/b", False, True),
        ("/**/**/z", b"/z", False, True),
        ("**/**/z/**", b"/a/z/b/c", False, True),
        ("**/**/z/**", b"/a/z", True, False),
        ("a**b", b"/axxb", False, True),
        ("a**b", b"/ax/xb", False, False),
        # Sets.
        ("[abc].txt", b"/b.txt", False, True),
        ("[abc].txt", b"/d.txt", False, False),
        ("[a-c].txt", b"/b.txt", False, True),
        ("[!a-c].txt", b"/b.txt", False, False),
        ("[!a-c].txt", b"/d.txt", False, True),
        ("[^a].txt", b"/b.txt", False, True),
        ("a[!b]c", b"/a/c", False, False),
        ("[]]", b"/]", False, True),
        ("[!]]", b"/x", False, True),
        ("[\\]", b"/\\", False, True),
        ("[a^]", b"/^", False, True),
        ("[.]", b"/x", False, False),
        ("[[]", b"/[", False, True),
        # What means something to a regular expression, and nothing to a glob.
        ("a.c", b"/abc", False, False),
        ("a+(b)|c$", b"/a+(b)|c$", False, True),
        ("(a|b)*", b"/a", False, False),
        ("{a}*", b"/{a}x", False, True),
        ("a\nb*", b"/a\nbc", False, True),
        ("a*b", b"/a\n\nb", False, True),
        # Escapes.
        (r"\*", b"/*", False, True),
        (r"\*", b"/a", False, False),
        (r"\!important", b"/!important", False, True),
        (r"\[a]", b"/[a]", False, True),
        (r"a\?", b"/a?", False, True),
        # Bytes that are not UTF-8, as the shell's arguments carry them.
        ("a\udcffb", b"/a\xffb", False, True),
        ("a\udcffb*", b"/a\xffb1", False, True),
        ("*.iso", b"/\xff\xfe.iso", False, True),
        ("[\udcff]", b"/\xff", False, True),
        ("\u00fc", "/\u00fc".encode(), False, True),
    ],
)
def test_patterns(pattern, path, is_directory, out):
    if out is None:
        with pytest.raises(Refused):
            Exclusions([pattern])
    else:
        assert Exclusions([pattern]).matches(path, is_directory) is out


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "names nothing"),
        ("/", "names nothing"),
        ("///", "names nothing"),
        ("!keep", "begins with '!'"),
        ("a//b", "doubled slash"),
        ("[abc", "not a pattern"),
        ("[]", "not a pattern"),
        ("[z-a]", "not a pattern"),
        ("a[b/c]d", "not a pattern"),
        ("abc\\", "not a pattern"),
        ("a\\/b", "not a pattern"),
        ("\ud800", "not a pattern"),
        ("a" * 4097, "4,097 characters"),
    ],
)
def test_what_is_no_pattern(pattern, reason):
    with pytest.raises(Refused, match=reason):
        Exclusions(["fine", pattern])


def test_many_patterns_are_an_or():
    exclusions = Exclusions(["cache", "*.iso", "/var/tmp/", "a/b"])
    assert exclusions
    for path, is_directory in [(b"/x/cache", False), (b"/x.iso", False), (b"/var/tmp", True), (b"/q/a/b", False)]:
        assert exclusions.matches(path, is_directory)
    for path in [b"/var/tmp", b"/x", b"/b/a"]:
        assert not exclusions.matches(path, False)


def test_no_pattern_is_false_and_matches_nothing():
    nothing = Exclusions(())
    assert not nothing
    assert not nothing.matches(b"/anything", True)


def test_no_pattern_costs_next_to_nothing():
    matches = Exclusions(()).matches
    start = time.perf_counter()
    for _ in range(100_000):
        matches(b"/home/somebody/project/src/file.c", False)
    assert time.perf_counter() - start < 1.0  # 0.01 s as a rule: ten millionths of a second are generous.


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 60 + "b", b"/" + b"a" * 255),
        ("*" * 60 + "b", b"/" + b"a" * 255),
        ("?*" * 60 + "b", b"/" + b"a" * 255),
        ("**/a/" * 50 + "**/b", b"/a" * 2000),
        ("*[a-z]*[a-z]*[a-z]*[a-z]*[a-z]*[a-z]*0", b"/" + b"a" * 255),
    ],
)
def test_no_pattern_blows_up(pattern, path):
    exclusions = Exclusions([pattern])
    start = time.perf_counter()
    assert not exclusions.matches(path, False)
    assert time.perf_counter() - start < 2.0


PARTS = st.text("ab", min_size=1, max_size=4)


def matches_by_hand(glob: str, text: str) -> bool:
    """The textbook recursion, for `*` and `?`."""
    if not glob:
        return not text
    if glob[0] == "*":
        return matches_by_hand(glob[1:], text) or (bool(text) and matches_by_hand(glob, text[1:]))
    return bool(text) and glob[0] in {"?", text[0]} and matches_by_hand(glob[1:], text[1:])


@settings(max_examples=100, deadline=None)
@given(st.text("ab*?", min_size=1, max_size=7), st.text("ab", min_size=1, max_size=8))
def test_stars_find_what_the_textbook_finds(glob, name):
    assert Exclusions([glob]).matches(b"/q/" + name.encode(), False) is matches_by_hand(glob, name)


def parts_match_by_hand(globs: list[str], parts: list[str]) -> bool:
    if not globs:
        return not parts
    if globs[0] == "**":
        if len(globs) == 1:
            return bool(parts)
        return any(parts_match_by_hand(globs[1:], parts[at:]) for at in range(len(parts) + 1))
    return bool(parts) and matches_by_hand(globs[0], parts[0]) and parts_match_by_hand(globs[1:], parts[1:])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.just("**"), st.text("ab*", min_size=1, max_size=3)), min_size=1, max_size=6),
    st.lists(PARTS, min_size=1, max_size=6),
)
def test_anchored_paths_find_what_the_textbook_finds(globs, parts):
    globs = [glob if set(glob) != {"*"} or glob == "**" else "*" for glob in globs]
    path = "/" + "/".join(parts)
    assert Exclusions(["/" + "/".join(globs)]).matches(path.encode(), False) is parts_match_by_hand(globs, parts)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=12), st.binary(max_size=12))
def test_any_pattern_is_a_pattern_or_refused(pattern, name):
    try:
        exclusions = Exclusions([pattern])
    except Refused:
        return
    assert exclusions.matches(b"/q/" + name, False) in {True, False}
