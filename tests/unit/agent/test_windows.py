"""Windows: never given out again while a piece of one is in use, in any thread."""

import threading

from wain.agent.windows import KEPT, Windows


def test_a_window_is_used_again_only_when_all_its_pieces_are_gone() -> None:
    windows = Windows()
    first = windows.take(100)
    first.room[:4] = b"data"
    one, two = first.lend(0, 2), first.lend(2, 4)
    assert windows.take(100) is not first
    del one
    assert windows.take(100) is not first
    assert bytes(two) == b"ta"
    del two
    assert windows.take(100) is first


def test_a_window_that_is_too_small_is_left() -> None:
    windows = Windows()
    small = windows.take(10)
    assert windows.take(11) is not small
    assert windows.take(10) is small


def test_a_window_that_is_no_longer_kept_lives_as_long_as_its_pieces() -> None:
    windows = Windows()
    first = windows.take(4)
    first.room[:4] = b"kept"
    piece = first.lend(0, 4)
    del first
    held = [windows.take(4 + number).lend(0, 1) for number in range(1, 2 * KEPT)]
    assert bytes(piece) == b"kept"
    assert len({id(view.obj) for view in held}) == len(held)


def test_pieces_may_be_dropped_by_another_thread() -> None:
    windows = Windows()
    first = windows.take(4)
    pieces = [first.lend(0, 4) for _ in range(100)]
    thread = threading.Thread(target=pieces.clear)
    thread.start()
    thread.join()
    assert windows.take(4) is first
