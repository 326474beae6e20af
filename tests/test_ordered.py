"""Results in order, and no item taken before its time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lookonce.ordered import in_batches, ordered_map


def test_results_come_in_order_though_the_first_takes_longest():
    others_done = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert others_done.wait(5)
        if number == 2:
            others_done.set()
        return number * 10

    with ThreadPoolExecutor(4) as executor:
        assert list(ordered_map(executor, work, range(5), ahead=3)) == [0, 10, 20, 30, 40]


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_of_endless_items_only_those_ahead_are_taken(ahead):
    taken = 0

    def items():
        nonlocal taken
        while True:
            taken += 1
            yield taken

    with ThreadPoolExecutor(1) as executor:
        results = ordered_map(executor, str, items(), ahead=ahead)
        assert next(results) == "1"
        assert taken == 1 + ahead
        results.close()


def test_an_error_comes_in_its_turn():
    def work(number: int) -> float:
        return 1 / number

    with ThreadPoolExecutor(2) as executor:
        results = ordered_map(executor, work, [2, 0, 1], ahead=2)
        assert next(results) == 0.5
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_batches_are_full_but_for_the_last() -> None:
    assert list(in_batches(iter(range(5)), 2)) == [[0, 1], [2, 3], [4]]
    assert list(in_batches(iter([]), 2)) == []
