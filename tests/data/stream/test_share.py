"""Who loads which positions: every one once, in rows that fit together."""

from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.data.stream.loader import Share


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 7), st.integers(0, 20), st.integers(0, 6))
def test_shares_part_every_batch(world: int, workers: int, rows: int, first_batch: int, batches: int) -> None:
    size = world * rows
    start, stop = first_batch * size, (first_batch + batches) * size
    seen: list[int] = []
    for rank in range(world):
        for worker in range(workers):
            share = Share(size, rank, world, worker, workers)
            positions = list(share.positions(start, stop))
            seen.extend(positions)
            taken = iter(positions)
            for begin in range(start, stop, size):
                rank_positions = range(begin + rank, begin + size, world)
                assert [next(taken) for _ in share.rows(begin)] == [rank_positions[row] for row in share.rows(begin)]
            assert next(taken, None) is None
    assert sorted(seen) == list(range(start, stop))


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 7), st.integers(0, 20))
def test_lanes_stay_with_workers(world: int, workers: int, rows: int, first_batch: int) -> None:
    size, lanes = world * rows, world * workers * 3
    owner: dict[int, tuple[int, int]] = {}
    for rank in range(world):
        for worker in range(workers):
            for position in Share(size, rank, world, worker, workers).positions(0, first_batch * size + size):
                assert owner.setdefault(position % lanes, (rank, worker)) == (rank, worker)
