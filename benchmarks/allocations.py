"""Counts the bytes of the tensors that a program holds, exactly, on any machine and for models of any size.

Over fake tensors (torch's FakeTensorMode), which have shapes and no memory, a step of the real program is made as it
would be: autograd keeps and drops what it does, FSDP2 gathers and frees. What kernels hold while they run is not seen,
nor what an allocator keeps back.
"""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from torch.utils._pytree import tree_leaves


class Allocations(TorchDispatchMode):
    """While it is active, every tensor that an operation makes is counted until its storage has gone or was emptied."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = 0
        """Bytes now."""
        self.most = 0
        """The most bytes at one time since `forget_peak`."""
        self._sizes: dict[int, tuple[weakref.ref, int]] = {}

    def forget_peak(self) -> None:
        """Begin anew with what is alive now."""
        self.most = self.alive

    def count(self, tensor: torch.Tensor) -> None:
        """See a tensor; those of other tensors' storage, or seen before, change nothing."""
        if is_traceable_wrapper_subclass(tensor):  # a sharded one: what counts is this rank's part
            parts = (getattr(tensor, name) for name in tensor.__tensor_flatten__()[0])
            for part in parts:
                if isinstance(part, torch.Tensor):
                    self.count(part)
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        known = self._sizes.get(key)
        if known is None or known[0]() is None:
            self._set(key, weakref.ref(storage, lambda _: self._set(key, None, 0)), storage.nbytes())

    def _set(self, key: int, reference: weakref.ref | None, size: int) -> None:
        _, before = self._sizes.pop(key, (None, 0))
        if reference is not None:
            self._sizes[key] = reference, size
        self.alive += size - before
        self.most = max(self.most, self.alive)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.count(leaf)
        return result

    def __enter__(self) -> "Allocations":
        self._resize = resize = torch.UntypedStorage.resize_

        def resize_and_count(storage: torch.UntypedStorage, size: int) -> Any:  # how FSDP2 frees what it gathered
            result = resize(storage, size)
            known = self._sizes.get(storage._cdata)
            if known is not None and known[0]() is not None:
                self._set(storage._cdata, known[0], size)
            return result

        torch.UntypedStorage.resize_ = resize_and_count  # type: ignore[method-assign]
        return super().__enter__()

    def __exit__(self, *arguments: Any) -> None:
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]
        super().__exit__(*arguments)
