import numpy as np
import pytest
import torch

from metaxcr.sampling.sampler import softmax


def test_softmax_sums_to_one_in_float64() -> None:
    logits = torch.tensor([0.1, -20.0, 3.0, 3.0])
    p = softmax(logits)
    assert p.dtype == np.float64
    assert p.sum() == pytest.approx(1.0, abs=1e-15)
    expected = np.exp(logits.double().numpy())
    assert p == pytest.approx(expected / expected.sum())
