"""On a CUDA device inputs travel beside the step before: the same numbers, no waiting for the device, memory kept."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from mammut_clip.config.load import validate
from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import RunConfig
from mammut_clip.data.stream import Batch
from mammut_clip.train.ahead import inputs_ahead
from mammut_clip.train.inputs import StepInputs, prepare
from mammut_clip.train.waiting import Waiting

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

CUDA = torch.device("cuda")
ROWS = 64


def config() -> RunConfig:
    """Of a model with both tasks and patch dropout, so that every kind of input occurs."""
    architecture: dict[str, Any] = load_model_config("mammut_toy-S").model_dump()
    architecture["vision_cfg"]["patch_dropout"] = 0.5
    values = {
        "name": "x",
        "model": architecture,
        "samples_seen": 1024,
        "global_batch_size": ROWS,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3},
    }
    return validate(RunConfig, values, "test")


def batches(count: int) -> Iterator[Batch]:
    """As the stream gives them: pinned, pictures channels last; other ones each time."""
    generator = torch.Generator().manual_seed(0)
    for number in range(count):
        pixels = torch.randint(0, 256, (ROWS, 32, 32, 3), dtype=torch.uint8, generator=generator)
        ids = torch.randint(2, 90, (ROWS, 20), generator=generator)
        positions = range(number * ROWS, (number + 1) * ROWS)
        yield Batch(pixels.pin_memory().permute(0, 3, 1, 2), ids.pin_memory(), positions)


def busy(seconds: float) -> None:
    """Give the device something to do."""
    torch.cuda._sleep(int(seconds * 1e9))


def checksums(inputs: StepInputs) -> list[torch.Tensor]:
    return [tensor.double().sum() for tensor in inputs.tensors()]


def test_inputs_equal_those_of_the_plain_path() -> None:
    run = config()
    for inputs, batch in zip(inputs_ahead(batches(4), run, CUDA), batches(4), strict=True):
        plain = prepare(batch, run, torch.device("cpu"))
        assert len(inputs.tensors()) == len(plain.tensors()) == 6
        for there, here in zip(inputs.tensors(), plain.tensors(), strict=True):
            assert there.device.type == "cuda"
            torch.testing.assert_close(there.cpu(), here)


def test_inputs_hold_while_the_device_is_far_behind() -> None:
    run = config()
    expected = [[float(total) for total in checksums(prepare(batch, run, CUDA))] for batch in batches(16)]
    late = []
    for inputs in inputs_ahead(batches(16), run, CUDA):
        busy(0.01)  # their memory must not be given away before the sums below have read it
        late.append(checksums(inputs))
        del inputs
    assert [[float(total) for total in totals] for totals in late] == expected


def test_preparing_does_not_wait_for_the_step_before() -> None:
    """By the time the next inputs are asked for, the device is still busy with a step, and stays so."""
    run = config()
    ahead = inputs_ahead(batches(3), run, CUDA)
    next(ahead)  # what is allocated once is allocated now
    torch.cuda.synchronize()
    busy(1.0)
    ended = torch.cuda.Event()
    ended.record()
    next(ahead)
    assert not ended.query()
    torch.cuda.synchronize()


def test_waiting_is_what_the_device_had_nothing_to_do() -> None:
    waiting = Waiting(CUDA)
    torch.cuda.synchronize()
    with waiting.here():
        time.sleep(0.2)
    assert waiting.take() > 0.19
    busy(1.0)
    with waiting.here():  # the loop waits, the device computes
        time.sleep(0.2)
    assert waiting.take() < 0.1
