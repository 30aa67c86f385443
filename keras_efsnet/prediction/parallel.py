"""Work on several threads, with the results in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2
"""Items for each thread that are taken before their results are given."""


def count_cores() -> int:
    """Returns the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Lets glibc keep some freed memory, at most 64 MiB for each thread.

    Else each large array is new memory from the system, which takes a twentieth of the
    time of `efsnet predict`. Freeing a block sets the limit to twice its size, see
    M_MMAP_THRESHOLD in mallopt(3). It changes nothing with other libraries.
    """
    bytes(2**25 - 2**16)


def map_in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int | None = None,
    weigh: Callable[[Item], int] = lambda item: 0,
    limit: int = 0,
) -> Iterator[Result]:
    """Calls a function on threads and yields the results in the order of the items.

    The items are taken in the caller's thread, a few ahead. After an error, and after
    Ctrl-C, no call starts; those that run end, and the results of all that succeeded
    come before the error. Closing the generator waits for the calls that run.

    Args:
        function: takes an item.
        items: any number.
        threads: calls at a time; None is one for each core.
        weigh: an item's weight.
        limit: largest weight of the items in work together; a heavier one comes alone.
    """
    threads = threads or count_cores()
    pool = ThreadPoolExecutor(threads)
    waiting: deque[tuple[int, Future[Result]]] = deque()

    def is_due(weight: int) -> bool:
        """Says whether the oldest result must come before the next item starts."""
        is_heavy = sum(other for other, _ in waiting) + weight > limit
        return is_heavy or len(waiting) >= AHEAD * threads or waiting[0][1].done()

    def take_oldest() -> Result:
        result = waiting[0][1].result()
        waiting.popleft()
        return result

    try:
        for item in items:
            weight = weigh(item)
            while waiting and is_due(weight):
                yield take_oldest()
            waiting.append((weight, pool.submit(function, item)))
        while waiting:
            yield take_oldest()
    except (Exception, KeyboardInterrupt):
        pool.shutdown(cancel_futures=True)
        for _, future in waiting:
            if not future.cancelled() and future.exception() is None:
                yield future.result()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
