"""On a CPU inputs are made one batch at a time, in the loop's own thread (tests/gpu has the other case)."""

import threading
from collections.abc import Callable, Iterator

import torch

from mammut_clip.data.stream import Batch
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.ahead import inputs_ahead
from mammut_clip.train.inputs import prepare

MakeRun = Callable[..., RunDir]
CPU = torch.device("cpu")


def test_the_inputs_of_each_batch_come_in_turn_and_none_before_its_time(make_run: MakeRun) -> None:
    config = make_run().config
    generator = torch.Generator().manual_seed(0)
    made: list[Batch] = []

    def batches() -> Iterator[Batch]:
        for start in range(0, 12, 4):
            images = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8, generator=generator).permute(0, 3, 1, 2)
            ids = torch.randint(2, 90, (4, 20), generator=generator)
            made.append(Batch(images, ids, range(start, start + 4)))
            yield made[-1]

    threads = set(threading.enumerate())
    for number, inputs in enumerate(inputs_ahead(batches(), config, CPU)):
        assert len(made) == number + 1
        assert set(threading.enumerate()) <= threads  # those of other tests may end meanwhile
        expected = prepare(made[number], config, CPU)
        assert len(inputs.tensors()) == len(expected.tensors()) == 5  # pictures, ids and three of the captions
        for found, wanted in zip(inputs.tensors(), expected.tensors(), strict=True):
            assert torch.equal(found, wanted)
    assert len(made) == 3
