"""The inputs of one step after another; on a GPU they travel and are normalised beside the step before.

Calls to a GPU only queue work: when the loop asks for the inputs of step k + 1, step k is still being computed. In a
stream of its own the copy does not stand in line behind it.
"""

from collections.abc import Iterator

import torch

from mammut_clip.config.run import RunConfig
from mammut_clip.data.stream import Batch
from mammut_clip.train.inputs import StepInputs, prepare


def inputs_ahead(batches: Iterator[Batch], config: RunConfig, device: torch.device) -> Iterator[StepInputs]:
    """`prepare` of each batch, on `device`; ready for what the current stream does next."""
    if device.type != "cuda":
        for batch in batches:
            yield prepare(batch, config, device)
        return
    beside = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(beside):
            inputs = prepare(batch, config, device)
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(beside)
        for tensor in inputs.tensors():
            # allocated in one stream, used in another: its memory is not given away before that use is over
            tensor.record_stream(computing)
        yield inputs
