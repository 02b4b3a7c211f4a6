"""What is made within a transform or in inference mode, and kept, is as good afterwards."""

import pytest
import torch
from torch import Tensor

from metaxcr.encoders.base import FrozenEncoder, Text
from metaxcr.encoders.lasting import lasting


def test_a_tensor_made_within_a_transform_can_be_used_after_it() -> None:
    kept: list[Tensor] = []

    def loss(x: Tensor) -> Tensor:
        kept.append(lasting(torch.ones)(3))
        return (kept[0] * x).sum()

    assert torch.func.grad(loss)(torch.ones(3)).tolist() == [1.0, 1.0, 1.0]
    assert torch.func.grad(loss)(torch.ones(3)).tolist() == [1.0, 1.0, 1.0]


def test_a_tensor_made_in_inference_mode_can_be_trained_with() -> None:
    with torch.inference_mode():
        made = lasting(torch.ones)(3)
    assert not made.is_inference()


def test_errors_arrive() -> None:
    def fail(text: str) -> None:
        raise ValueError(text)

    with pytest.raises(ValueError, match="it"):
        lasting(fail)("it")


def test_layers_that_are_cast_within_a_transform_stay_usable(toy_encoder: FrozenEncoder) -> None:
    encoder = FrozenEncoder(**{**vars(toy_encoder), "_cast": {}})
    ragged = encoder.embed(encoder.tokenize([Text("some words")], 8))

    def loss(scale: Tensor) -> Tensor:
        hidden, context = encoder.enter(ragged, torch.bfloat16)
        return encoder.layer(0, torch.bfloat16)(hidden * scale, context).float().sum()

    gradient = torch.func.grad(loss)(torch.tensor(1.0))
    assert torch.equal(torch.func.grad(loss)(torch.tensor(1.0)), gradient)
