"""Reads packs ahead, in one thread, while the vault stores or hashes the one before it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def read_ahead(items: Iterable[T], read: Callable[[T], U], ahead: int = 1) -> Iterator[tuple[T, U]]:
    """Yield each item with what `read` gives for it, in order; at most `ahead` reads are not yet taken.

    What `read` raises comes out at its item. Memory: `ahead` + 1 results.
    """
    pending: deque[tuple[T, Future[U]]] = deque()
    with ThreadPoolExecutor(1, "vault-reading") as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(read, item)))
                if len(pending) > ahead:
                    yield _taken(pending)
            while pending:
                yield _taken(pending)
        finally:
            for _, future in pending:
                future.cancel()


def _taken(pending: deque[tuple[T, Future[U]]]) -> tuple[T, U]:
    item, future = pending.popleft()
    return item, future.result()
