"""The only code that creates files on restore. Used from one thread; decoding happens elsewhere.

A file is written under a temporary name in its own directory, gets its metadata through the descriptor, and is
renamed when it is whole: under its final name there is never half a file. Directories are made first with mode 0700
and get their metadata when the restore leaves them.
"""

import errno
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from wain.agent.restore_conflict import MAX_COPIES, TAKEN, TWIN, Arrival, Conflict, Policy, copy_name
from wain.agent.restore_inplace import IN_PLACE_FLAGS, clear_holes, open_existing
from wain.agent.restore_landing import Item, Landing, Place, discard
from wain.agent.restore_metadata import drop_other_attributes
from wain.agent.restore_nodes import NodeWriter
from wain.agent.restore_report import Tally
from wain.agent.restore_root import TargetRoot, check_name, rename_new
from wain.base.sizes import KIB
from wain.storage.durable import start_write_back
from wain.tree.entry import Entry

OPEN_FILES: Final = 64
_EARLY_BYTES: Final = 512 * KIB
"""The medium is set to work on pieces of this size at once, while the next ones are decoded."""
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class _Part:
    """A file that is written in pieces: the name it has meanwhile, and what the kernel calls it."""

    name: bytes
    identity: tuple[int, int]


class RestoreWriter:
    """Writes entries below one target root.

    Raises (all methods):
        OutOfSpace, DeviceLost, WriteFailed: the target takes no more. What one entry alone suffers is counted in
        the tally instead.
        Malformed: a name is not one component of a path.
    """

    def __init__(self, root: TargetRoot, policy: Policy, tally: Tally) -> None:
        self._root = root
        self._tally = tally
        self._conflict = policy.conflict
        self._landing = Landing(root, policy, tally)
        self._parts: dict[Item, _Part] = {}
        self._open: OrderedDict[Item, int] = OrderedDict()
        self.nodes = NodeWriter(self._landing)
        """Restores what has no content."""
        self.links = self._landing.links

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close and remove what is unfinished. A file changed in place stays as far as it got; a repeat goes on."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
        for item, part in self._parts.items():
            if not item.in_place:
                with suppress(OSError):
                    discard(self._root.directory(item.place.path), part.name)
        self._parts.clear()
        self.links.close()

    # Directories

    def enter(self, parent: Place, entry: Entry, shown: bytes, *, selected: bool = True) -> Place | None:
        """Make sure that a directory is there and open. None, counted, when something else is in the way.

        A directory that is not `selected` only leads to what is: when it exists it is left as it is.
        """
        item = Item(parent, entry, shown)
        check_name(entry.name)
        try:
            made = self._make(item)
        except OSError as error:
            self._landing.refuse(item, error)
            return None
        if made is None:
            return None
        name, fresh = made
        place = Place(parent.path + b"/" + name if parent.path else name, shown, entry)
        place.fresh = fresh
        place.settles = selected or fresh
        self._tally.directories += selected
        if fresh and not selected:
            self._make_passable(place, entry)
        return place

    def _make_passable(self, place: Place, entry: Entry) -> None:
        """Give a directory that only leads to others its owner and mode at once, save that we can still write.

        A repeat after a kill finds it there and leaves it alone, as it would any directory that is not selected.
        """
        fd = self._root.directory(place.path)
        self._landing.metadata.apply(fd, entry)
        os.fchmod(fd, (entry.stat.mode & 0o1777) | 0o700)

    def _make(self, item: Item) -> tuple[bytes, bool] | None:
        """Return the name that a directory got and whether it is new; None, counted, when its name is taken."""
        parent, wanted = item.place, item.entry.name
        twin = self._landing.is_twin(item)
        if not twin:
            try:
                fresh = self._root.make(parent.path, wanted)
                if fresh or not parent.fresh:
                    return wanted, fresh
                twin = True  # It exists, and only we have been here.
            except FileExistsError:
                if self._conflict is Conflict.OVERWRITE and not parent.fresh:
                    os.unlink(wanted, dir_fd=self._root.directory(parent.path))
                    return wanted, self._root.make(parent.path, wanted)
                twin = parent.fresh
        if self._conflict is Conflict.KEEP_BOTH:
            return self._make_copy(item)
        skip = self._conflict is Conflict.SKIP and not twin
        self._landing.settle(item, Arrival.SKIPPED if skip else Arrival.BLOCKED, TWIN if twin else TAKEN)
        return None

    def _make_copy(self, item: Item) -> tuple[bytes, bool]:
        for number in range(1, MAX_COPIES):
            name = copy_name(item.entry.name, number)
            with suppress(FileExistsError):
                return name, self._root.make(item.place.path, name)
        raise FileExistsError(errno.EEXIST, TAKEN)

    def leave(self, place: Place) -> None:
        """Give a directory its metadata. Nothing is written into it afterwards; its children were left before."""
        if place.entry is None or not place.settles:
            return
        try:
            self._landing.metadata.apply(self._root.directory(place.path), place.entry)
        except OSError as error:
            self._landing.refuse(Item(place, place.entry, place.shown), error)

    # Files

    def admit(self, item: Item) -> bool:
        """Decide whether a file's content is wanted. False when it is there already, skipped, or blocked."""
        try:
            arrival = self._landing.arrive(item)
            if arrival is Arrival.IN_PLACE:
                self._adopt(item)
                return True
        except OSError as error:
            self._landing.refuse(item, error)
            return False
        return arrival is Arrival.WRITE

    def _adopt(self, item: Item) -> None:
        """Take the existing file as the place to write, where that is possible; otherwise it will be replaced."""
        fd = open_existing(self._root.directory(item.place.path), item.entry.name)
        if fd is None:
            return
        found = os.fstat(fd)
        item.in_place = True
        self._parts[item] = _Part(item.entry.name, (found.st_dev, found.st_ino))
        self._keep(item, fd)

    def existing(self, item: Item, at: int, length: int) -> bytes:
        """Return what an adopted file holds now where a piece of its content would go; short where it ends."""
        try:
            fd = self._descriptor(item)
            return b"".join(os.pread(fd, end - start, offset) for offset, start, end in spans(item, at, length))
        except OSError as error:
            self._refuse(item, error)
            return b""

    def whole(self, item: Item, body: bytes | memoryview) -> None:
        """Write a file without holes in one go."""
        entry = item.entry
        try:
            directory = self._root.directory(item.place.path)
            temporary = self._root.temporary_name()
            fd = os.open(temporary, _CREATE, 0o600, dir_fd=directory)
            try:
                try:
                    if body:
                        write_all(fd, body, 0)
                    self._landing.metadata.apply(fd, entry)
                    found = os.fstat(fd) if entry.stat.links > 1 else None
                finally:
                    os.close(fd)
            except BaseException:
                discard(directory, temporary)
                raise
            name = self._landing.land(directory, temporary, item)
        except OSError as error:
            self._landing.refuse(item, error)
            return
        if name is not None:
            self._tally.files += 1
            self._tally.written_bytes += len(body)
            if found is not None:
                self._landing.remember(item, name, found)

    def piece(self, item: Item, at: int, body: bytes | memoryview) -> None:
        """Write one chunk of a file; `at` counts the bytes of data before it. The last one finishes the file."""
        view = memoryview(body)
        try:
            fd = self._descriptor(item)
            for offset, start, end in spans(item, at, len(view)):
                write_all(fd, view[start:end], offset)
                if end - start >= _EARLY_BYTES:
                    start_write_back(fd, offset, end - start)
        except OSError as error:
            self._refuse(item, error)
            return
        item.touched = True
        self._tally.written_bytes += len(view)
        self.passed(item, len(view))

    def passed(self, item: Item, length: int) -> None:
        """Count bytes of a file as being in place, and finish the file after the last."""
        item.pending -= length
        if item.pending <= 0:
            self.finish(item)

    def finish(self, item: Item) -> None:
        """Give a file that was written in pieces, or is one hole, its metadata and its name."""
        entry = item.entry
        try:
            fd = self._descriptor(item)
            if item.in_place:
                self._trim(item, fd)
            self._landing.metadata.apply(fd, entry)
            found = os.fstat(fd)
            os.close(self._open.pop(item))
            part = self._parts.pop(item)
            name: bytes | None = entry.name
            if not item.in_place:
                directory = self._root.directory(item.place.path)
                name = self._landing.land(directory, part.name, item)
        except OSError as error:
            self._refuse(item, error)
            return
        if name is None:
            return
        self._landing.remember(item, name, found)
        if item.in_place and not item.touched:
            self._tally.already += 1
        else:
            self._tally.files += 1

    def _trim(self, item: Item, fd: int) -> None:
        entry = item.entry
        if os.fstat(fd).st_size != entry.stat.size:
            item.touched = True
            os.ftruncate(fd, entry.stat.size)
        clear_holes(fd, entry.stat.size, entry.content.extents)
        drop_other_attributes(fd, entry)

    def fail(self, item: Item, reason: str, *, damage: bool) -> None:
        """Give a file up: nothing of it stays under its final name.

        With `damage` the stored bytes are at fault (integrity); without, they are not at hand. A file that was
        already changed in place is set aside as `name.wain-N`; one that was not is left as it was.
        """
        if item.failed:
            return
        item.failed = True
        self._abandon(item)
        (self._tally.damage if damage else self._tally.problem)(item.shown, reason)

    def _refuse(self, item: Item, error: OSError) -> None:
        try:
            self._landing.refuse(item, error)
        finally:
            item.failed = True
            self._abandon(item)

    def _abandon(self, item: Item) -> None:
        fd = self._open.pop(item, None)
        if fd is not None:
            os.close(fd)
        part = self._parts.pop(item, None)
        if part is None:
            return
        with suppress(OSError):
            directory = self._root.directory(item.place.path)
            if not item.in_place:
                discard(directory, part.name)
            elif item.touched:
                self._set_aside(directory, part)

    def _set_aside(self, directory: int, part: _Part) -> None:
        for number in range(1, MAX_COPIES):
            with suppress(FileExistsError):
                rename_new(directory, part.name, copy_name(part.name, number))
                return

    def _descriptor(self, item: Item) -> int:
        """Return the open file of an item, made or opened again as needed."""
        fd = self._open.get(item)
        if fd is not None:
            self._open.move_to_end(item)
            return fd
        directory = self._root.directory(item.place.path)
        part = self._parts.get(item)
        if part is not None:
            fd = os.open(part.name, IN_PLACE_FLAGS, dir_fd=directory)
            self._keep(item, fd)
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) != part.identity:
                raise FileExistsError(errno.EEXIST, "another process exchanged the file")
            return fd
        temporary = self._root.temporary_name()
        fd = os.open(temporary, _CREATE, 0o600, dir_fd=directory)
        found = os.fstat(fd)
        self._parts[item] = _Part(temporary, (found.st_dev, found.st_ino))
        self._keep(item, fd)
        os.ftruncate(fd, item.entry.stat.size)
        return fd

    def _keep(self, item: Item, fd: int) -> None:
        self._open[item] = fd
        if len(self._open) > OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])


def write_all(fd: int, body: bytes | memoryview, offset: int) -> None:
    """Write every byte at `offset`; the kernel may take less at once."""
    done = os.pwrite(fd, body, offset)
    while done < len(body):
        done += os.pwrite(fd, memoryview(body)[done:], offset + done)


def spans(item: Item, at: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Yield where a run of a file's data goes: (offset in the file, start and end within the run)."""
    if not item.starts:
        yield at, 0, length
        return
    number = bisect_right(item.starts, at) - 1
    done = 0
    while done < length:
        offset, size = item.entry.content.extents[number]
        into = at + done - item.starts[number]
        take = min(size - into, length - done)
        if take > 0:
            yield offset + into, done, done + take
            done += take
        number += 1
