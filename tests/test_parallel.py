"""Work on threads: order, bounds, errors in the middle, interruption."""

import threading
import time
from itertools import count

import pytest

from keras_efsnet.prediction.parallel import AHEAD, map_in_order
from keras_efsnet.prediction.turns import seconds_waited, take_turn

THREADS = 3


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_results_have_the_order_of_the_items():
    def slow_if_even(number):
        time.sleep(0.01 * (number % 2 == 0))
        return number

    assert list(map_in_order(slow_if_even, range(40), THREADS)) == list(range(40))


def test_calls_run_at_the_same_time():
    meeting = threading.Barrier(THREADS, timeout=30)
    list(map_in_order(lambda item: meeting.wait(), range(THREADS), THREADS))


def test_only_a_few_items_are_taken_ahead():
    taken = []

    def items():
        for number in count():
            taken.append(number)
            yield number

    results = map_in_order(lambda number: number, items(), THREADS)
    for given in range(1, 200):
        assert next(results) == given - 1
        assert len(taken) <= given + AHEAD * THREADS
    results.close()


def test_the_weight_in_work_is_limited():
    weights = [3, 1, 1, 1, 9, 1, 2, 2, 4, 1] * 3
    lock, running, most = threading.Lock(), [0], []

    def work(weight):
        with lock:
            running[0] += weight
            most.append((running[0], weight))
        time.sleep(0.002)
        with lock:
            running[0] -= weight
        return weight

    assert list(map_in_order(work, weights, THREADS, lambda w: w, 4)) == weights
    assert all(total <= 4 or total == weight == 9 for total, weight in most)
    assert max(total for total, weight in most if weight < 4) > 2


def test_after_an_error_the_results_that_are_there_come_first():
    begun, failed = threading.Event(), threading.Event()

    def work(number):
        if number == 2:
            assert begun.wait(30)
            failed.set()
            raise OSError(28, "No space left on device")
        if number == 3:
            begun.set()
            assert failed.wait(30)
        return number

    got = []
    with pytest.raises(OSError, match="No space left"):
        for number in map_in_order(work, count(), THREADS):
            got.append(number)
    assert got[:3] == [0, 1, 3]
    assert got == sorted(got) and len(got) < 2 + AHEAD * THREADS


def test_an_error_of_the_items_comes_after_the_calls_that_run():
    def items():
        yield from range(5)
        raise ValueError("no more")

    got = []
    with pytest.raises(ValueError, match="no more"):
        for number in map_in_order(lambda number: number, items(), THREADS):
            got.append(number)
    assert got == list(range(len(got)))


def test_ctrl_c_gives_what_is_done_and_starts_nothing_more():
    started = []

    def work(number):
        started.append(number)
        time.sleep(0.05)
        return number

    def items():
        yield from range(THREADS + 1)
        raise KeyboardInterrupt

    got = []
    with pytest.raises(KeyboardInterrupt):
        for number in map_in_order(work, items(), THREADS):
            got.append(number)
    assert got == sorted(started) == list(range(len(got)))
    assert len(got) >= THREADS


def test_closing_waits_for_the_calls_that_run():
    ended = []

    def work(number):
        time.sleep(0.05)
        ended.append(number)
        return number

    results = map_in_order(work, count(), THREADS)
    assert next(results) == 0
    results.close()
    running = len(ended)
    time.sleep(0.1)
    assert len(ended) == running <= 2 * THREADS


def test_the_wait_for_a_turn_is_counted_for_each_thread():
    lock, waits, before = threading.Lock(), [], seconds_waited()

    def work(number):
        before = seconds_waited()
        with take_turn(lock):
            time.sleep(0.1)
        waits.append(seconds_waited() - before)

    list(map_in_order(work, range(3), 3))
    first, second, third = sorted(waits)
    assert first < 0.05 and second > 0.09 and third > 0.19
    assert seconds_waited() - before == 0
