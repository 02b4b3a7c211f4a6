import numpy as np
import pytest
import torch
from tests.sampling.conftest import Tell

from metaxcr.sampling.multidds import MultiDDS
from metaxcr.sampling.sampler import Feedback


def test_the_step_is_the_gradient_of_the_expected_cosine(tell: Tell) -> None:
    sampler, cosines = MultiDDS(3, lr=0.7), torch.tensor([0.2, -0.1, 0.05], dtype=torch.float64)
    psi = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64, requires_grad=True)
    (cosines * torch.log_softmax(psi, 0)).mean().backward()
    assert psi.grad is not None
    told = tell(3, 0, dict(enumerate(cosines.tolist())))

    after = sampler.update({"psi": psi.detach()}, told)

    assert torch.allclose(after["psi"], psi.detach() + 0.7 * psi.grad)


def test_the_drawn_source_alone_makes_the_same_step_on_average(tell: Tell) -> None:
    sampler, q, cosines = MultiDDS(3), np.array([0.5, 0.2, 0.3]), [0.2, -0.1, 0.05]
    begin = sampler.init(0)
    whole = sampler.update(begin, tell(3, 0, dict(enumerate(cosines))))["psi"]
    mean = sum(q[j] * sampler.update(begin, Feedback(j, q, {j: cosines[j]}))["psi"] for j in range(3))
    assert mean.tolist() == pytest.approx(whole.tolist())
    assert sampler.probabilities({"psi": whole}).argmax() == 0
