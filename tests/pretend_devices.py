"""Devices that are none: tensors on `pretend:0` and `pretend:1` are computed by the CPU.

As on GPUs, an operation on tensors of two devices is an error, and only copies go from one to the
other. So a test on a CPU sees whether code keeps several devices apart, and gets its numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"
aten = torch.ops.aten
# Copies may cross devices; indices may lie on the CPU.
CROSSING = {aten._to_copy.default, aten.copy_.default}
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}


class Pretended(torch.Tensor):
    """A tensor that says it is on a pretended device, around one of the CPU."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor, device: torch.device) -> Pretended:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=device,
            requires_grad=False,
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Pretended({self.inner!r}, {self.device})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Pretended:
        return Pretended(self.inner.clone(), self.device)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


@contextmanager
def devices() -> Iterator[None]:
    """Within it, pretended devices can be computed on."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        _setup_privateuseone_for_python_backend(NAME)
    with _Devices(), _Factories():
        yield


class _Factories(TorchFunctionMode):
    """`torch.tensor` of Python numbers never comes to a dispatch mode with its device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        device = kwargs.get("device")
        if func is torch.tensor and device is not None and torch.device(device).type == NAME:
            kwargs["device"] = "cpu"
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


class _Devices(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch._C._dispatch_has_kernel_for_dispatch_key(
            func.name(), torch._C.DispatchKey.CompositeImplicitAutograd
        ):
            # In inference mode, what is put together of other operations comes here whole.
            with self:
                return func.decompose(*args, **kwargs)
        return run(func, args, kwargs)


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation: on the CPU, with the result on the device of its arguments."""
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    found = {x.device for x in tensors if isinstance(x, Pretended)}
    plain = [x for x in tensors if not isinstance(x, Pretended) and x.ndim > 0]
    asked = kwargs.get("device")
    if func not in CROSSING:
        mixed = len(found) > 1 or (found and plain and func not in INDEXING)
        if mixed:
            raise RuntimeError(f"{func}: tensors on {found} and {[x.device for x in plain]}")
    if func is aten.copy_.default:
        target, source = args[0], args[1]
        inner(target).copy_(inner(source))
        return target
    device = next(iter(found), None)
    if asked is not None:
        device = torch.device(asked)
        kwargs = {**kwargs, "device": torch.device("cpu") if device.type == NAME else device}
    elif func is aten._to_copy.default and not found:
        device = None
    result = func(*tree_map(inner, args), **tree_map(inner, kwargs))
    if device is None or device.type != NAME:
        return result
    if func._schema.is_mutable and isinstance(args[0], Pretended):
        return args[0]
    index = device if device.index is not None else torch.device(NAME, 0)
    return tree_map(lambda x: Pretended(x, index) if isinstance(x, torch.Tensor) else x, result)


def inner(value: Any) -> Any:
    """The CPU's tensor of a pretended one."""
    return value.inner if isinstance(value, Pretended) else value


def place(model: torch.nn.Module, device_map: dict[str, str]) -> None:
    """Put a model's weights on the devices of a map; one that is tied stays one."""
    placed: dict[int, torch.nn.Parameter] = {}
    for path, device in device_map.items():
        for module in model.get_submodule(path).modules():
            for name, value in module._parameters.items():
                if value is not None:
                    made = Pretended(value.detach(), torch.device(device))
                    module._parameters[name] = placed.setdefault(
                        id(value), torch.nn.Parameter(made, requires_grad=False)
                    )
            for name, value in module._buffers.items():
                if value is not None:
                    module._buffers[name] = Pretended(value, torch.device(device))
