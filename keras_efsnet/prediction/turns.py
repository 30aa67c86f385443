"""Waiting for one's turn, which does not count as time of a prediction."""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

Held = TypeVar("Held")

_waited = threading.local()


@contextmanager
def take_turn(turn: AbstractContextManager[Held]) -> Iterator[Held]:
    """Holds a lock or the like; `seconds_waited` counts the wait for it."""
    start = time.perf_counter()
    with turn as held:
        _waited.seconds = seconds_waited() + time.perf_counter() - start
        yield held


def seconds_waited() -> float:
    """Returns for how long this thread has waited in `take_turn` so far."""
    return getattr(_waited, "seconds", 0.0)
