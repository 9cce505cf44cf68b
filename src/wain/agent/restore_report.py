"""What a restore did: counted while it runs, reported at its end."""

from dataclasses import dataclass
from pathlib import Path

from wain.base.ids import PointId
from wain.job.job import Problem

KEPT_PROBLEMS = 10_000
"""Problems kept by name; beyond them only the count grows."""


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """The outcome of one restore. Sizes in bytes.

    `damaged` lists what the vault could not give back whole (integrity); `problems` what the target refused, what
    was in the way, or what is still travelling. Both name at most `KEPT_PROBLEMS`; the counts are exact.
    """

    point: PointId
    target: Path
    files: int
    directories: int
    others: int
    """Symbolic links, hard links, FIFOs and device nodes."""
    written_bytes: int
    already: int
    """Entries that were there and complete, from an earlier run."""
    skipped: int
    """Entries left alone because the conflict policy says so."""
    problems: tuple[Problem, ...]
    problem_count: int
    damaged: tuple[Problem, ...]
    damaged_count: int
    notes: tuple[str, ...]
    """Metadata that could not be restored, one sentence each with a count."""

    @property
    def exit_code(self) -> int:
        """Return 4 after an integrity failure, 3 when something else is missing, 0 when everything is there."""
        return 4 if self.damaged_count else 3 if self.problem_count else 0


class Tally:
    """The running counts of one restore. Used from one thread."""

    def __init__(self) -> None:
        self.files = 0
        self.directories = 0
        self.others = 0
        self.written_bytes = 0
        self.already = 0
        self.skipped = 0
        self.problem_count = 0
        self.damaged_count = 0
        self._problems: list[Problem] = []
        self._damaged: list[Problem] = []
        self._notes: dict[str, int] = {}

    @property
    def items(self) -> int:
        """Return how many entries are settled, well or badly."""
        return self.files + self.others + self.already + self.skipped + self.problem_count + self.damaged_count

    def problem(self, path: bytes, reason: str) -> None:
        """Record an entry that the target did not take."""
        self.problem_count += 1
        if len(self._problems) < KEPT_PROBLEMS:
            self._problems.append(Problem(path, reason))

    def damage(self, path: bytes, reason: str) -> None:
        """Record an entry whose stored bytes are wrong or missing."""
        self.damaged_count += 1
        if len(self._damaged) < KEPT_PROBLEMS:
            self._damaged.append(Problem(path, reason))

    def note(self, sentence: str) -> None:
        """Count a loss that is not an error, such as an owner that only root can set."""
        self._notes[sentence] = self._notes.get(sentence, 0) + 1

    def report(self, point: PointId, target: Path) -> RestoreReport:
        """Return the counts as a report."""
        return RestoreReport(
            point=point,
            target=target,
            files=self.files,
            directories=self.directories,
            others=self.others,
            written_bytes=self.written_bytes,
            already=self.already,
            skipped=self.skipped,
            problems=tuple(self._problems),
            problem_count=self.problem_count,
            damaged=tuple(self._damaged),
            damaged_count=self.damaged_count,
            notes=tuple(f"{sentence} ({count} entries)" for sentence, count in self._notes.items()),
        )
