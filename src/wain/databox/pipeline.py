"""Reads ahead in a thread, so that the device and the account are busy at the same time."""

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

DEPTH: Final = 12
"""Pieces of at most 4 MiB that wait between reader and writer."""
_TICK_SECONDS: Final = 0.2


class _End:
    """The reader is through; `error` is what stopped it, if anything did."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def ahead(pieces: Iterator[T], depth: int = DEPTH) -> Generator[T, None, None]:
    """Yield what `pieces` yields, in order, from a thread that is up to `depth` pieces ahead.

    An error of the reader is raised here. When the consumer stops early, the reader stops at its next piece and is
    waited for: after `close()` nobody reads any more.
    """
    line: queue.Queue[T | _End] = queue.Queue(depth)
    stop = threading.Event()
    reader = threading.Thread(target=_feed, args=(pieces, line, stop), name="wain-read-ahead", daemon=True)
    reader.start()
    try:
        while True:
            piece = line.get()
            if isinstance(piece, _End):
                if piece.error is not None:
                    raise piece.error
                return
            yield piece
    finally:
        stop.set()
        reader.join()


def _feed(pieces: Iterator[T], line: "queue.Queue[T | _End]", stop: threading.Event) -> None:
    end = _End(None)
    try:
        for piece in pieces:
            if not _put(line, piece, stop):
                return
    except BaseException as error:  # noqa: BLE001  (it is raised again in the consumer's thread)
        end = _End(error)
    _put(line, end, stop)


def _put(line: "queue.Queue[T | _End]", piece: "T | _End", stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            line.put(piece, timeout=_TICK_SECONDS)
        except queue.Full:
            continue
        return True
    return False
