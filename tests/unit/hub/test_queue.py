"""The hub's work queue: nothing twice at once, nothing lost, errors with patience."""

from __future__ import annotations

import threading
import time

from fedgestalt_operator.hub.queue import FIRST_RETRY, LONGEST_RETRY, Workers, WorkQueue

A, B = ("FederationRound", "ns", "a"), ("FederationRound", "ns", "b")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def taken(queue: WorkQueue) -> tuple[str, str, str]:
    found = queue.take()
    assert found is not None
    return found[0]


def test_a_key_that_is_asked_for_often_is_worked_on_once() -> None:
    queue = WorkQueue(Clock())
    for _ in range(5):
        queue.add(A)
    queue.add(B)
    assert [taken(queue), taken(queue)] == [A, B]
    assert queue.depth() == 2  # both at work, nothing left that is due


def test_news_during_the_work_bring_the_key_back_after_it() -> None:
    queue = WorkQueue(Clock())
    queue.add(A)
    taken(queue)
    queue.add(A)
    queue.add(B)
    assert taken(queue) == B, "A is not worked on by two at once"
    queue.done(A, None)
    assert taken(queue) == A


def test_the_sooner_of_two_wishes_counts_and_the_later_is_forgotten() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    queue.add(A, after=50.0)
    queue.add(A, after=10.0)
    queue.add(A, after=30.0)
    clock.now = 10.0
    assert taken(queue) == A
    queue.done(A, None)
    clock.now = 60.0
    queue.add(B)
    assert taken(queue) == B, "the earlier wishes for A were served"


def test_patience_doubles_with_each_failure_up_to_a_minute_and_ends_with_success() -> None:
    queue = WorkQueue(Clock())
    waits = []
    for _ in range(10):
        waits.append(queue.failed(A))
    assert waits[:3] == [FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY]
    assert waits[-1] == LONGEST_RETRY
    queue.done(A, None)
    assert queue.failed(A) == FIRST_RETRY


def test_workers_do_all_keys_and_end_when_the_queue_closes() -> None:
    queue, seen, lock = WorkQueue(), list[str](), threading.Lock()
    finished = threading.Event()

    def work(key: tuple[str, str, str]) -> float | None:
        if key == B and not seen.count("b"):
            seen.append("b")
            raise RuntimeError("the first time it fails")
        with lock:
            seen.append(key[2])
        if len(seen) >= 3:
            finished.set()
        return None

    outcomes: list[Exception | None] = []
    workers = Workers(
        queue, work, threads=2, on_done=lambda key, waited, took, outcome: outcomes.append(outcome)
    )
    workers.start()
    queue.add(A)
    queue.add(B)
    assert finished.wait(20)
    queue.close()
    workers.join(5)
    assert sorted(seen) == ["a", "b", "b"]
    until = time.monotonic() + 5
    while len(outcomes) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    assert sorted(type(o).__name__ for o in outcomes) == ["NoneType", "NoneType", "RuntimeError"]


def test_patience_ends_nowhere_even_after_thousands_of_failures() -> None:
    queue = WorkQueue(Clock())
    assert {queue.failed(A) for _ in range(3000)} >= {LONGEST_RETRY}


def test_wishes_that_others_overtook_do_not_pile_up() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    for _ in range(1000):
        queue.add(A)
        taken(queue)
        queue.done(A, 1e6)
    assert len(queue._heap) < 200
    clock.now = 1e6
    assert taken(queue) == A


def test_a_listener_that_fails_costs_no_worker() -> None:
    queue, seen, both = WorkQueue(), list[str](), threading.Event()

    def work(key: tuple[str, str, str]) -> float | None:
        seen.append(key[2])
        if len(seen) == 2:
            both.set()
        return None

    def listen(*_: object) -> None:
        raise RuntimeError("of no use")

    workers = Workers(queue, work, threads=1, on_done=listen)
    workers.start()
    queue.add(A)
    queue.add(B)
    assert both.wait(20)
    queue.close()
    workers.join(5)
