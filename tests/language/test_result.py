"""What a training found."""

import math
from collections.abc import Callable

import pytest
import torch

from metaxcr.encoders.base import FrozenEncoder
from metaxcr.evaluation.intervals import paired_difference
from metaxcr.language.result import training_result
from metaxcr.language.training import StageState, target_losses
from metaxcr.language.work import Request, prepare


def test_losses_and_the_gain_over_the_control(
    encoder: FrozenEncoder, request_of: Callable[..., Request]
) -> None:
    request = request_of(lines=160)
    work = prepare(encoder, request)
    model, test = work.model, work.batches["test"]
    states = {}
    for n, name in enumerate(("head", "adapter", "control")):
        params = {
            key: p + 0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(n))
            for key, p in model.params().items()
        }
        states[name] = StageState(7, params, {}, params, ((0, 3.0), (5, 2.0 + n), (7, 2.5)))
    result = training_result(request, work, states)
    assert [row["what"] for row in result["losses"]] == [
        "head alone",
        "head alone, trained on",
        "head + adapter",
    ]
    assert [row["best_step"] for row in result["losses"]] == [5, 7, 7]
    losses = {
        name: target_losses(model, state.best, test, with_adapter=name == "adapter")
        for name, state in states.items()
    }
    for name, row in zip(("head", "control", "adapter"), result["losses"], strict=True):
        assert row["loss"] == pytest.approx(float(losses[name].mean()), abs=1e-4)
        assert row["perplexity"] == pytest.approx(math.exp(row["loss"]), rel=1e-3)
    # the gain, sequence by sequence, written down anew
    owners = test.owners().tolist()
    means = {}
    for name in ("control", "adapter"):
        by_sequence: dict[int, list[float]] = {}
        for owner, loss in zip(owners, losses[name].tolist(), strict=True):
            by_sequence.setdefault(owner, []).append(loss)
        means[name] = torch.tensor([sum(v) / len(v) for _, v in sorted(by_sequence.items())]).numpy()
    expected = paired_difference(means["control"], means["adapter"])
    assert result["gain"]["mean"] == pytest.approx(expected.mean, rel=1e-2)
    assert result["gain"]["low"] == pytest.approx(expected.low, rel=1e-2)
    assert result["targets"] == len(owners) and result["parameters"] > 0
