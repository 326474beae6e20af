"""The model thread alone: its model is a function that can be held until all requests of a test wait."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from lookonce.serving.batching import Batch, Limits, ModelThreads, QueueFull, Stopped, TooLate

SOON = 20.0  # seconds, which no test that passes waits


class Held:
    """A model that returns (its name, option, item), and raises for the item "bad". It begins once `go` is set."""

    def __init__(self, name: str = "first") -> None:
        self.name = name
        self.go, self.begun = threading.Event(), threading.Event()
        self.calls: list[tuple[str, list[str]]] = []

    def __call__(self, options: str, items: Sequence[str]) -> list[tuple[str, str, str]]:
        self.begun.set()
        assert self.go.wait(SOON)
        self.calls.append((options, list(items)))
        if "bad" in items:
            raise ValueError("bad")
        return [(self.name, options, item) for item in items]


@pytest.fixture
def model() -> Held:
    return Held()


@pytest.fixture
def batches() -> list[Batch]:
    return []


@pytest.fixture
def thread(model: Held, batches: list[Batch]) -> Iterator[ModelThreads[str, str, Any]]:
    """It runs the item "first" already, so that what a test submits waits."""
    owner = ModelThreads(model, Limits(max_batch=4, max_wait=0.0, max_queue=6), batches.append)
    submit(owner, "first")
    assert model.begun.wait(SOON)
    yield owner
    model.go.set()
    owner.close()


def submit(thread: ModelThreads[str, str, Any], item: str, options: str = "", seconds: float = SOON) -> "Future[Any]":
    return thread.submit(item, options, deadline=time.monotonic() + seconds)


def test_waiting_items_run_together_in_order_up_to_the_largest_batch(
    model: Held, thread: ModelThreads[str, str, Any], batches: list[Batch]
) -> None:
    waiting = [submit(thread, item) for item in "abcdef"]
    model.go.set()
    assert [one.result(SOON)[2] for one in waiting] == list("abcdef")
    assert [items for _, items in model.calls] == [["first"], list("abcd"), list("ef")]
    thread.close()
    assert [len(batch.waits) for batch in batches] == [1, 4, 2]
    assert min(batches[1].waits) > 0


def test_an_item_waits_for_others_no_longer_than_it_may(model: Held) -> None:
    model.go.set()
    thread = ModelThreads(model, Limits(max_batch=2, max_wait=SOON))
    pair = [submit(thread, item) for item in "ab"]
    assert [one.result(SOON / 2)[2] for one in pair] == ["a", "b"]  # a full batch does not wait
    thread.close()
    thread = ModelThreads(model, Limits(max_batch=2, max_wait=0.01))
    assert submit(thread, "alone").result(SOON)[2] == "alone"
    thread.close()


def test_items_with_equal_options_run_in_one_call(model: Held, thread: ModelThreads[str, str, Any]) -> None:
    waiting = [submit(thread, item, options) for item, options in zip("abcd", "xyxy", strict=True)]
    model.go.set()
    assert [one.result(SOON)[1:] for one in waiting] == [("x", "a"), ("y", "b"), ("x", "c"), ("y", "d")]
    assert model.calls[1:] == [("x", ["a", "c"]), ("y", ["b", "d"])]


def test_an_error_reaches_its_own_request_only(
    model: Held, thread: ModelThreads[str, str, Any], batches: list[Batch]
) -> None:
    waiting = [submit(thread, item) for item in ("a", "bad", "b")]
    model.go.set()
    assert [waiting[0].result(SOON)[2], waiting[2].result(SOON)[2]] == ["a", "b"]
    assert isinstance(waiting[1].exception(SOON), ValueError)
    thread.close()
    assert [batch.errors for batch in batches] == [0, 1]


def test_a_model_that_returns_too_little_fails_its_requests_and_the_next_is_answered() -> None:
    thread = ModelThreads[str, str, str](lambda _, items: list(items) if "a" not in items else [], Limits())
    assert isinstance(submit(thread, "a").exception(SOON), ValueError)
    assert submit(thread, "b").result(SOON) == "b"
    thread.close()


def test_a_full_queue_refuses_and_says_when_to_try_again(model: Held, thread: ModelThreads[str, str, Any]) -> None:
    waiting = [submit(thread, item) for item in "abcdef"]
    assert thread.num_waiting == 6
    with pytest.raises(QueueFull):
        submit(thread, "g")
    model.go.set()
    assert waiting[-1].result(SOON)
    assert submit(thread, "h").result(SOON)[2] == "h"
    assert thread.seconds_to_wait > 0


def test_an_item_that_would_be_late_behind_others_is_refused_at_once(
    model: Held, thread: ModelThreads[str, str, Any]
) -> None:
    time.sleep(0.02)  # of the first run
    model.go.set()
    submit(thread, "a").result(SOON)
    model.go.clear()
    model.begun.clear()
    submit(thread, "b")
    assert model.begun.wait(SOON)
    submit(thread, "waits")
    with pytest.raises(QueueFull):
        submit(thread, "late", seconds=1e-6)
    submit(thread, "in time")


def test_cancelled_and_late_items_do_not_run_and_make_room(model: Held, thread: ModelThreads[str, str, Any]) -> None:
    cancelled = [submit(thread, item) for item in "abc"]
    late = [submit(thread, item, seconds=0.001) for item in "def"]
    time.sleep(0.002)
    for one in cancelled:
        assert one.cancel()
    last = submit(thread, "g")
    model.go.set()
    assert last.result(SOON)[2] == "g"
    assert all(isinstance(one.exception(SOON), TooLate) for one in late)
    assert [items for _, items in model.calls] == [["first"], ["g"]]


def test_a_batch_of_cancelled_items_does_not_end_the_thread(model: Held, thread: ModelThreads[str, str, Any]) -> None:
    assert submit(thread, "a").cancel()
    model.go.set()
    assert submit(thread, "b").result(SOON)[2] == "b"


def test_a_new_model_runs_whole_batches(model: Held, thread: ModelThreads[str, str, Any]) -> None:
    second = Held("second")
    second.go.set()
    before = [submit(thread, item, options) for item, options in zip("ab", "xy", strict=True)]
    model.begun.clear()
    model.go.set()
    before[0].result(SOON)
    thread.replace(second)
    after = [submit(thread, item, options) for item, options in zip("cd", "xy", strict=True)]
    assert {one.result(SOON)[0] for one in before} == {"first"}
    assert {one.result(SOON)[0] for one in after} == {"second"}


def test_the_model_is_never_changed_within_a_batch() -> None:
    """Each model sees the number that its batch began with: two calls of one batch agree."""
    thread: ModelThreads[int, int, int]

    def numbered(number: int) -> Any:
        def run(_options: int, items: Sequence[int]) -> list[int]:
            thread.replace(numbered(number + 1))
            return [number] * len(items)

        return run

    thread = ModelThreads(numbered(0), Limits(max_batch=4, max_wait=SOON))
    for batch in range(3):
        results = [thread.submit(0, options, deadline=time.monotonic() + SOON) for options in range(4)]
        assert [one.result(SOON) for one in results] == [batch] * 4
    thread.close()


def test_closing_runs_what_waits_and_refuses_what_follows(model: Held, thread: ModelThreads[str, str, Any]) -> None:
    waiting = [submit(thread, item) for item in "abcde"]
    closing = threading.Thread(target=thread.close)
    closing.start()
    while thread.is_alive:
        time.sleep(0.001)
    with pytest.raises(Stopped):
        submit(thread, "late")
    model.go.set()
    assert [one.result(SOON)[2] for one in waiting] == list("abcde")
    closing.join()


def test_closing_answers_all_even_if_the_model_hangs(model: Held, thread: ModelThreads[str, str, Any]) -> None:
    waiting = [submit(thread, item) for item in "ab"]
    thread.close(seconds=0.01)
    assert all(isinstance(one.exception(SOON), Stopped) for one in waiting)


def test_many_callers_get_their_own_results() -> None:
    thread = ModelThreads[int, int, int](lambda _, items: [2 * item for item in items], Limits(max_queue=1000))
    results: dict[int, int] = {}

    def call(number: int) -> None:
        for item in range(number, 400, 8):
            results[item] = thread.submit(item, item % 3, deadline=time.monotonic() + SOON).result(SOON)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    thread.close()
    assert results == {item: 2 * item for item in range(400)}


def test_two_threads_run_two_batches_at_once_and_end_together() -> None:
    both = threading.Barrier(2)

    def run(_options: int, items: Sequence[int]) -> list[int]:
        both.wait(SOON)
        return list(items)

    threads = ModelThreads[int, int, int](run, Limits(max_batch=1, num_threads=2))
    waiting = [threads.submit(item, 0, deadline=time.monotonic() + SOON) for item in range(6)]
    assert [one.result(SOON) for one in waiting] == list(range(6))
    threads.close()
    assert not threads.is_alive
