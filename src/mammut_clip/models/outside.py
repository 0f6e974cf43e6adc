"""Towers of timm and transformers: what our code needs of modules that it did not write.

OutsideTower       a tower around another package's trunk, which keeps that package's first weights
try_out            one sample through a module, without memory or numbers: does it run, and what does it cost?
repeated_blocks    the units for sharding and compiling, found by structure alone
float32_layers     layers that break where their parameters are cast to bfloat16
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

_CONTAINERS = (nn.ModuleList, nn.Sequential)
_BETWEEN_ACTIVATIONS = (torch.ops.aten.bmm, torch.ops.aten.baddbmm)


class OutsideTower(nn.Module):
    """A tower around another package's trunk. Built on the meta device as all our models, and filled by `initialize`:
    the trunk with what `fresh` gives, the projection behind it with torch's own start of a linear layer."""

    @property
    def outside(self) -> nn.Module:
        """The other package's trunk, a child of this module."""
        raise NotImplementedError

    def fresh(self) -> nn.Module:
        """The trunk anew, on the current device, with its package's first weights from torch's global generator, or
        with published weights where the config asks for them. Raises InputError where these cannot be read."""
        raise NotImplementedError

    def one_sample(self) -> Tensor:
        """An input of the right shape for a batch of one."""
        raise NotImplementedError

    def projections(self) -> list[nn.Linear]:
        """The linear layers of ours behind the trunk, none with a bias."""
        raise NotImplementedError

    def blocks(self) -> list[nn.Module]:
        """The units for sharding and compiling."""
        return repeated_blocks(self.outside)

    def first_values(self, seed: int) -> dict[str, Tensor]:
        """The first parameters and buffers of the trunk, on the CPU, by name; the seed alone decides them."""
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            # torch.manual_seed would seed the accelerators as well, which nobody forked
            torch.default_generator.manual_seed(seed)
            trunk = self.fresh()
        return dict(trunk.named_parameters()) | dict(trunk.named_buffers())


def own_modules(module: nn.Module) -> Iterator[nn.Module]:
    """As `module.modules()`, without what other packages wrote."""
    yield module
    for child in module.children():
        if not (isinstance(module, OutsideTower) and child is module.outside):
            yield from own_modules(child)


@dataclass(frozen=True)
class Trial:
    """What happened to one sample. FLOPs as torch's FlopCounterMode counts them, with plain attention; but for the
    backward pass of grouped convolutions, where it counts each group's weights against all channels."""

    shape: tuple[int, ...]
    """Of the output."""
    unused: list[str]
    """Names of parameters that the output does not depend on."""
    forward_flops: int
    """Of the forward pass."""
    attention_flops: int
    """Those of them between activations, which is what scores and mixed values are: all batched matrix products,
    whether attention is written with torch's fused function or by hand."""
    step_flops: int
    """Of the forward and the backward pass."""


def try_out(module: nn.Module, sample: Callable[[], Tensor]) -> Trial:
    """Run a module, on whatever device, forward and backward over fake tensors, which have shapes and take no memory.

    `sample` makes the input. The module is left as it was; in the trial it is in evaluation mode. Raises whatever the
    module does.
    """
    module = copy.deepcopy(module).eval()  # forward passes may leave fake tensors behind in caches
    with FakeTensorMode(), torch.device("cpu"), sdpa_kernel(SDPBackend.MATH):
        state = {name: torch.empty(p.shape, dtype=p.dtype, requires_grad=True) for name, p in module.named_parameters()}
        buffers = {name: torch.empty(b.shape, dtype=b.dtype) for name, b in module.named_buffers()}
        with _counter() as forward:
            output = functional_call(module, state | buffers, (sample(),))
        output = output[0] if isinstance(output, tuple) else output
        with _counter() as backward:
            output.sum().backward()
        unused = [name for name, parameter in state.items() if parameter.grad is None]
    counts = forward.get_flop_counts().get("Global", {})
    return Trial(
        shape=tuple(output.shape),
        unused=unused,
        forward_flops=forward.get_total_flops(),
        attention_flops=sum(counts.get(operation, 0) for operation in _BETWEEN_ACTIVATIONS),
        step_flops=forward.get_total_flops() + backward.get_total_flops(),
    )


def _counter() -> FlopCounterMode:
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward})


def _convolution_backward(
    grad: torch.Size, inputs: torch.Size, weight: torch.Size, *arguments: Any, out_shape: object = None
) -> int:
    """As many operations as the forward pass for each of the gradients of inputs and weights that is asked for."""
    transposed, wanted = arguments[4], arguments[7]
    return sum(wanted[:2]) * conv_flop_count(list(inputs), list(weight), list(grad), transposed)


def repeated_blocks(trunk: nn.Module) -> list[nn.Module]:
    """The blocks that a trunk repeats: members of a ModuleList or Sequential whose members are all of one class, the
    innermost such ones (the blocks of a stage, not the stages). Single layers are none."""
    found = [
        member
        for container in trunk.modules()
        if isinstance(container, _CONTAINERS)
        for member in _members_of_one_class(container)
    ]
    known = {id(block) for block in found}
    return [block for block in found if not any(id(part) in known for part in block.modules() if part is not block)]


def _members_of_one_class(container: nn.Module) -> list[nn.Module]:
    members = list(container.children())
    if len({type(member) for member in members}) != 1 or isinstance(members[0], _CONTAINERS):
        return []
    return [member for member in members if _holds(member.children()) and _holds(member.parameters())]


def _holds(items: Iterator[object]) -> bool:
    return next(items, None) is not None


def float32_layers(model: nn.Module) -> list[nn.Module]:
    """Batch norms: torch has none whose parameters are bfloat16 beside float32 running statistics, so FSDP2 must not
    cast their parameters. They take bfloat16 activations."""
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]


def first_line(error: Exception) -> str:
    """The beginning of another package's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
