import pytest
import torch

from metaxcr.sampling import policy


def test_it_is_an_lstm_with_two_linear_heads() -> None:
    """Against torch's cell, over three episodes."""
    n, hidden = 3, 5
    psi = policy.start(n, hidden, seed=1)
    psi |= {name: torch.randn(psi[name].shape) for name in ("logits", "value")}
    width = policy.input_width(n)
    cell = torch.nn.LSTMCell(width, hidden)
    with torch.no_grad():
        cell.weight_ih.copy_(psi["cell"][:, :width])
        cell.weight_hh.copy_(psi["cell"][:, width:-1])
        cell.bias_ih.copy_(psi["cell"][:, -1])
        cell.bias_hh.zero_()
    h = c = torch.zeros(hidden)
    hx = (torch.zeros(1, hidden), torch.zeros(1, hidden))
    for _ in range(3):
        x = torch.randn(width)
        logits, value, h, c = policy.step(psi, x, h, c)
        hx = cell(x[None], hx)
        assert torch.allclose(h, hx[0][0], atol=1e-6) and torch.allclose(c, hx[1][0], atol=1e-6)
        assert torch.allclose(logits, psi["logits"][:, :-1] @ h + psi["logits"][:, -1], atol=1e-6)
        assert float(value) == pytest.approx(float(psi["value"][:-1] @ h + psi["value"][-1]), abs=1e-6)


def test_it_starts_uniform_from_a_seed() -> None:
    one, again, other = (policy.start(4, 6, seed) for seed in (0, 0, 1))
    assert torch.equal(one["cell"], again["cell"]) and not torch.equal(one["cell"], other["cell"])
    assert float(one["cell"].abs().max()) <= 6**-0.5
    assert not one["logits"].any() and not one["value"].any()


def test_the_input_tells_the_last_episode_and_what_each_source_gave() -> None:
    x = policy.next_input(torch.zeros(policy.input_width(3)), 1, 2.0, 0.75)
    assert x.tolist() == pytest.approx([0, 1, 0, 2.0, -0.25, 0, 0.4, 0])
    x = policy.next_input(x, 2, -1.0, 1.5)
    assert x.tolist() == pytest.approx([0, 0, 1, -1.0, 0.5, 0, 0.4, -0.2])
