"""The order of samples once more, slowly and by lists: everything is replayed from the start. For parity tests.

Shares with the package only `mix`, `permutation`, the numbers of the random streams, and, for mixtures, the even
sequence of the shares, whose properties test_mixture.py checks.
"""

import math
from typing import NamedTuple

from mammut_clip.data.order import streams
from mammut_clip.data.order.mixing import mix, permutation
from mammut_clip.data.order.shares import even_sequence, whole_shares


class Sample(NamedTuple):
    dataset: int
    shard: int
    sample: int
    epoch: int
    window: int
    """The first index of its window, times the number of data sets, plus the data set; -1: none."""


def chance(bound: int, *parts: int) -> int:
    return int(mix(*parts)[0]) % bound


def chunks(items: list, sizes: list[int], rest: int) -> list[list]:
    """Pieces of the given sizes, then of `rest` items each, the last one shorter; no empty ones."""
    pieces = []
    while items:
        size = sizes.pop(0) if sizes else rest
        pieces.append(items[:size])
        items = items[size:]
    return [piece for piece in pieces if piece]


def in_epochs(counts: list[int], seed: int, dataset: int, lanes: int, window: int, stop: int) -> list[tuple]:
    """(shard, sample, window) at the indices 0, ..., stop - 1."""
    total = sum(counts)
    drawn = {}
    for epoch in range(-(-stop // total)):
        indices = range(epoch * total, (epoch + 1) * total)
        if total <= lanes * window:
            natural = [(shard, sample) for shard, count in enumerate(counts) for sample in range(count)]
            order = permutation(total, seed, streams.COMPLETE, dataset, epoch)
            drawn |= {i: (*natural[k], -1) for i, k in zip(indices, order, strict=True)}
            continue
        shards = permutation(len(counts), seed, streams.SHARDS, dataset, epoch).tolist()
        rest = [(shard, sample) for shard in shards for sample in range(counts[shard])]
        for lane in permutation(lanes, seed, streams.LANES, dataset, epoch).tolist():
            mine = [i for i in indices if i % lanes == lane]
            segment, rest = rest[: len(mine)], rest[len(mine) :]
            first = window - chance(window, seed, streams.PHASES, dataset, epoch, lane)
            for number, piece in enumerate(chunks(segment, [first], window)):
                order = permutation(len(piece), seed, streams.SAMPLES, dataset, epoch, lane, number)
                drawn |= {i: (*piece[k], mine[0]) for i, k in zip(mine, order, strict=False)}
                mine = mine[len(piece) :]
    return [drawn[i] for i in range(stop)]


def resampled(counts: list[int], seed: int, dataset: int, lanes: int, window: int, stop: int) -> list[tuple]:
    """(shard, sample, window) at the indices 0, ..., stop - 1."""
    natural = [(shard, sample) for shard, count in enumerate(counts) for sample in range(count)]
    total = len(natural)
    if total <= lanes * window:
        return [(*natural[chance(total, seed, streams.DRAWS, dataset, i)], -1) for i in range(stop)]
    stretch = math.ceil(total / len(counts))
    drawn = {}
    for lane in range(lanes):
        mine = list(range(lane, stop, lanes))
        skipped = chance(stretch, seed, streams.PHASES, dataset, lane)
        turns = []
        for t in range(len(mine) // stretch + 2):
            start = chance(total, seed, streams.STRETCHES, dataset, lane, t)
            samples = [natural[(start + k) % total] for k in range(stretch)]
            for number, piece in enumerate(chunks(samples, [], window)):
                order = permutation(len(piece), seed, streams.SAMPLES, dataset, t, lane, number)
                turns += [(piece[k], (t, number)) for k in order]
        first: dict[tuple[int, int], int] = {}
        for i, (sample, name) in zip(mine, turns[skipped:], strict=False):
            drawn[i] = (*sample, first.setdefault(name, i))
    return [drawn[i] for i in range(stop)]


def mixed(weights: list[float], lanes: int, seed: int, stop: int) -> list[tuple[int, int]]:
    """(data set, index) at the positions 0, ..., stop - 1, by counting."""
    sequence = even_sequence(whole_shares(weights, lanes)).tolist()
    block = math.lcm(lanes, len(sequence))
    turns = [chance(lanes, seed, streams.TURNS, row) for row in range(min(stop, block) // lanes + 1)]
    so_far: dict[tuple[int, int], int] = {}
    places = []
    for position in range(stop):
        lane = position % lanes
        row = position % block // lanes
        turned = (lane + position // block + turns[row]) % lanes
        dataset = sequence[(row * lanes + turned) % len(sequence)]
        slot = so_far.get((dataset, lane), 0)
        so_far[dataset, lane] = slot + 1
        places.append((dataset, slot * lanes + lane))
    return places


def whole_order(
    counts: list[list[int]], weights: list[float], seed: int, lanes: int, window: int, sampling: str, stop: int
) -> list[Sample]:
    """The samples at the positions 0, ..., stop - 1."""
    places = mixed(weights, lanes, seed, stop)
    rule = {"epochs": in_epochs, "resampled": resampled}[sampling]
    order = []
    for dataset, of in enumerate(counts):
        needed = max((index + 1 for d, index in places if d == dataset), default=0)
        order.append(rule(of, seed, dataset, lanes, window, needed))
    samples = []
    for dataset, index in places:
        shard, sample, name = order[dataset][index]
        shard += sum(len(of) for of in counts[:dataset])
        name = name if name < 0 else name * len(counts) + dataset
        samples.append(Sample(dataset, shard, sample, index // sum(counts[dataset]), name))
    return samples
