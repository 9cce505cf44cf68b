"""The third opinion: rsync as a comparer. It must print nothing."""

import os
import shutil
import subprocess

COMMAND = ("rsync", "-aHAXn", "--checksum", "--delete", "--itemize-changes")
APART = "--exclude=/beyond"
"""The part of the torture tree whose paths are longer than rsync can read."""


def available() -> bool:
    """Say whether rsync is installed."""
    return shutil.which("rsync") is not None


def differences(source: bytes, restored: bytes) -> list[str]:
    """Return what rsync would change to make `restored` like `source`; any complaint of rsync's counts as well."""
    command: list[str | bytes] = [*COMMAND, APART, os.path.join(source, b""), os.path.join(restored, b"")]
    done = subprocess.run(command, capture_output=True, check=False)
    lines = (done.stdout + done.stderr).decode("utf-8", "backslashreplace").splitlines()
    if done.returncode and not lines:
        lines = [f"rsync ended with exit code {done.returncode}"]
    return lines
