"""A second device on a machine that has none: mixing its tensors with the processor's is an error.

Its tensors say that they are on ``meta`` and hold their numbers in an ordinary tensor, so a computation gives
the same bits as on the processor, or stops where a tensor was made without a device.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from metaxcr.encoders.activation_cache import TILE_TOKENS

DEVICE = torch.device("meta")


class Elsewhere(Tensor):
    """A tensor on the second device."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> "Elsewhere":
        made: Elsewhere = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, numbers.shape, numbers.stride(), numbers.storage_offset(), dtype=numbers.dtype, device=DEVICE
        )
        made.numbers = numbers
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.numbers})"

    def tolist(self) -> Any:
        """A copy on the processor, as a list."""
        return self.numbers.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return carry_out(func, args, kwargs or {})


class SecondDevice(TorchDispatchMode):
    """While it is on, tensors that are made or moved ``to("meta")`` are :class:`Elsewhere`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return carry_out(func, args, kwargs or {})


class FromNumbers(TorchFunctionMode):
    """``torch.tensor`` with a device goes past the operators: it is made on the processor, then moved."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func is torch.tensor and given.get("device") is not None:
            made: Tensor = func(*args, **{**given, "device": "cpu"})
            return made.to(given["device"])
        return func(*args, **given)


def carry_out(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Call an operator on the numbers; refuse operands of two devices."""
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    there = [x for x in tensors if isinstance(x, Elsewhere)]
    moves = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
    strangers = [x for x in tensors if not isinstance(x, Elsewhere) and x.dim() > 0]
    if there and strangers and not moves:
        raise AssertionError(
            f"{func} mixes two devices: {[tuple(x.shape) for x in strangers]} are on the processor"
        )
    goal = kwargs.get("device")
    named = goal is not None
    if named:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    numbers = tree_map(lambda x: x.numbers if isinstance(x, Elsewhere) else x, (args, kwargs))
    found = func(*numbers[0], **numbers[1])
    stays = torch.device(goal).type == DEVICE.type if named else bool(there)
    if func is torch.ops.aten.copy_.default:
        return args[0]
    if there and func._schema.name.endswith("_") and not named:
        return args[0]
    return tree_map(lambda x: Elsewhere(x) if isinstance(x, Tensor) and stays else x, found)


@contextmanager
def second_device(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything runs on the second device, whatever ``run.device`` says."""
    for module in [module for name, module in sys.modules.items() if name.startswith("metaxcr.")]:
        if hasattr(module, "choose_device"):
            patch.setattr(module, "choose_device", lambda name="auto": DEVICE)
    patch.setattr(
        "metaxcr.encoders.activation_cache.DEVICE_TILE_TOKENS", TILE_TOKENS
    )  # so that the bits are the same
    with SecondDevice(), FromNumbers():
        yield
