"""What a checkpoint holds: a model's parameters and buffers, and what its optimizer has gathered. Tensors and no more.

What follows from the config is not in it: learning rates, weight decay, which parameter is in which group. Nor is any
random state: initial weights, sample order and augmentation are functions of seed and position.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mammut_clip.config.errors import InputError
from mammut_clip.models.exchange.fit import require_fit
from mammut_clip.models.sharded import MODEL, Sharded
from mammut_clip.train.parallel import bare

OPTIMIZER = "optimizer"
State = dict[str, dict[str, Tensor]]
"""`model`: the names of its state dict; `optimizer`: state.<parameter>.<name> and groups.<number>.<name>."""
_OLDER = "param_groups."  # earlier versions of this program saved these too


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """The state as it stands: a model's tensors are not copies, and of sharded ones each process has its part.

    Raises InputError where the optimizer keeps something that is neither a tensor nor a number.
    """
    slots = _slots(model, optimizer).items()
    return {MODEL: dict(bare(model).state_dict()), OPTIMIZER: {name: slot.tensor() for name, slot in slots}}


def buffers_of(model: nn.Module) -> set[str]:
    """The names of a model's tensors that are no parameters."""
    whole = bare(model)
    return whole.state_dict().keys() - {name for name, _ in whole.named_parameters(remove_duplicate=False)}


def load_state(model: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Sharded) -> None:
    """Put a checkpoint's state into model and optimizer, of which each process reads its part. Not collective.

    What was in them is lost. Raises UnreadableError where files are damaged, and InputError where the checkpoint is not
    of this model and optimizer; then they hold neither the old state nor the new.
    """
    whole = bare(model)
    require_fit(checkpoint.shapes_of(MODEL), whole, checkpoint.folder)
    saved = {name: shape for name, shape in checkpoint.shapes_of(OPTIMIZER).items() if not name.startswith(_OLDER)}
    _make_slots(optimizer)
    slots = _slots(model, optimizer)
    for name in slots.keys() - saved.keys():  # of parameters that no loss has reached yet
        slots.pop(name).remove()
    _require_same(saved, slots, optimizer, checkpoint)
    tensors = {name: slot.tensor() for name, slot in slots.items()}
    with torch.no_grad():
        checkpoint.read({MODEL: whole.state_dict(), OPTIMIZER: tensors})
    for name, slot in slots.items():
        slot.put_back(tensors[name])
    _drop_empty(optimizer)


@dataclass(frozen=True)
class _Slot:
    """A place where an optimizer keeps a tensor or a number."""

    holder: dict[str, Any]
    key: str

    @property
    def value(self) -> Any:
        return self.holder[self.key]

    def tensor(self) -> Tensor:
        """The tensor that stands there, or a new one [] of the number."""
        return (
            self.value if isinstance(self.value, Tensor) else torch.tensor(self.value, dtype=_TYPES[type(self.value)])
        )

    def put_back(self, tensor: Tensor) -> None:
        """Take what has been read into `tensor`."""
        self.holder[self.key] = tensor if isinstance(self.value, Tensor) else tensor.item()

    def remove(self) -> None:
        del self.holder[self.key]


_TYPES = {bool: torch.bool, int: torch.int64, float: torch.float64}


def _slots(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, _Slot]:
    """Everything that an optimizer has gathered, by name."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in bare(model).named_parameters()}
    found = {
        f"state.{names[parameter]}.{key}": _Slot(state, key)
        for parameter, state in optimizer.state.items()
        for key in state
        if state[key] is not None
    }
    found |= {f"groups.{number}.{key}": _Slot(group, key) for number, group, key in _own_keys(optimizer)}
    for name, slot in found.items():
        if not isinstance(slot.value, Tensor) and type(slot.value) not in _TYPES:
            raise InputError(
                f"optimizer.name: {type(optimizer).__name__} keeps a {type(slot.value).__name__} ({name}), which no "
                "checkpoint can hold; choose another optimizer"
            )
    return found


def _own_keys(optimizer: torch.optim.Optimizer) -> Iterator[tuple[int, dict[str, Any], str]]:
    """(group's number, group, key) of the numbers that an optimizer counts in its groups, beside its settings: timm's
    Lamb and Adan keep their step there."""
    for number, group in enumerate(optimizer.param_groups):
        for key, value in group.items():
            if key not in optimizer.defaults and isinstance(value, Tensor | bool | int | float):
                yield number, group, key


def _make_slots(optimizer: torch.optim.Optimizer) -> None:
    """Let the optimizer make its places anew, in their shapes and shards: by a step without gradients at rate 0."""
    optimizer.state.clear()
    rates = [group["lr"] for group in optimizer.param_groups]
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _drop_empty(optimizer: torch.optim.Optimizer) -> None:
    """Forget parameters of which nothing was saved: an optimizer begins with those whose state is empty."""
    for parameter in [parameter for parameter, state in optimizer.state.items() if not state]:
        del optimizer.state[parameter]


def _require_same(
    saved: Mapping[str, torch.Size],
    slots: Mapping[str, _Slot],
    optimizer: torch.optim.Optimizer,
    checkpoint: Sharded,
) -> None:
    """Raise InputError where a checkpoint holds what this optimizer has no place for."""
    for name, shape in saved.items():
        if name not in slots:
            raise InputError(
                f"{checkpoint.folder}: its {OPTIMIZER}.{name} is of another optimizer than {type(optimizer).__name__}"
            )
        if slots[name].tensor().shape != shape:
            raise InputError(
                f"{checkpoint.folder}: its {OPTIMIZER}.{name} is {tuple(shape)}, that of {type(optimizer).__name__} "
                f"is {tuple(slots[name].tensor().shape)}"
            )
