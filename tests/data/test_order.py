"""The order of an epoch and its random numbers."""

import numpy as np

from lookonce.data.order import EpochOrder

MASK = 2**64 - 1


def philox(counter: int, key: tuple[int, int]) -> list[int]:
    """Four words of Philox 4x64 with 10 rounds, as Salmon et al. 2011 write it."""
    words, (key_0, key_1) = [counter, 0, 0, 0], key
    for _ in range(10):
        first, third = words[0] * 0xD2E7470EE14C6C93, words[2] * 0xCA5A826395121157
        words = [third >> 64 ^ words[1] ^ key_0, third & MASK, first >> 64 ^ words[3] ^ key_1, first & MASK]
        key_0, key_1 = key_0 + 0x9E3779B97F4A7C15 & MASK, key_1 + 0xBB67AE8584CAA73B & MASK
    return words


def test_draws_are_those_of_philox_with_two_counters_per_position_for_five_numbers() -> None:
    first, second = np.random.SeedSequence([3, 2, 3]).generate_state(2, np.uint64).tolist()
    words = [word for counter in (2 * 7 + 1, 2 * 7 + 2) for word in philox(counter, (first, second))]
    drawn = EpochOrder(10, seed=3, epoch=2).draws(range(7, 8), 5)  # numpy adds 1 to the counter before it draws
    np.testing.assert_array_equal(drawn, [[(word >> 11) / 2**53 for word in words[:5]]])


def test_draws_of_a_position_are_the_same_in_any_range() -> None:
    order = EpochOrder(10, seed=0, epoch=0)
    whole = order.draws(range(12), 7)
    np.testing.assert_array_equal(order.draws(range(5, 9), 7), whole[5:9])
    assert ((whole >= 0) & (whole < 1)).all()
    assert len(np.unique(whole)) == 12 * 7
    for other in (EpochOrder(10, seed=1, epoch=0), EpochOrder(10, seed=0, epoch=1)):
        assert not np.isin(other.draws(range(12), 7), whole).any()


def test_positions_after_the_data_set_go_on_into_another_permutation() -> None:
    order = EpochOrder(5, seed=0, epoch=0)
    rows = order.rows(np.arange(15)).reshape(3, 5)
    np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile(np.arange(5), (3, 1)))
    assert len({tuple(row) for row in rows.tolist()}) == 3
    assert EpochOrder(5, seed=0, epoch=0).rows(np.array([13])) == rows[2, 3]
    assert order.rows(np.array([[7], [1]])).tolist() == [[rows[1, 2]], [rows[0, 1]]]
