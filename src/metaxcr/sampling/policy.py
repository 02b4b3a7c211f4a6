"""The reinforced sampler's network: an LSTM over what happened in the episodes so far, as pure functions."""

import torch
from torch import Tensor

Params = dict[str, Tensor]


def start(sources: int, hidden: int, seed: int) -> Params:
    """First parameters: the heads are zero, so that the policy starts uniform and the baseline at 0.

    Args:
        sources: Number of sources, n.
        hidden: Width of the LSTM.
        seed: Of the cell's weights, uniform within +-hidden ** -0.5.
    """
    generator = torch.Generator().manual_seed(seed)
    cell = torch.rand(4 * hidden, input_width(sources) + hidden + 1, generator=generator)
    return {
        "cell": (cell * 2 - 1) * hidden**-0.5,  # of the input, the hidden state, and the bias
        "logits": torch.zeros(sources, hidden + 1),  # of the cell's output, and the bias
        "value": torch.zeros(hidden + 1),
    }


def step(psi: Params, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One episode: (input, hidden, cell) -> (logits over the sources, value, hidden, cell).

    Args:
        psi: From :func:`start`.
        x: (2 n + 2,), see :func:`next_input`.
        h: (hidden,).
        c: (hidden,).

    Source:
        Hochreiter and Schmidhuber 1997, with forget gates (Gers et al. 2000).
    """
    one = x.new_ones(1)
    i, f, g, o = torch.mv(psi["cell"], torch.cat([x, h, one])).chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    seen = torch.cat([h, one])
    return torch.mv(psi["logits"], seen), torch.dot(psi["value"], seen), h, c


def input_width(sources: int) -> int:
    """Source drawn last (n), its advantage (1), the support loss (1), a running mean of advantages (n)."""
    return 2 * sources + 2


def next_input(x: Tensor, source: int, advantage: float, loss: float) -> Tensor:
    """The policy's input after an episode.

    Args:
        x: The input before it.
        source: Drawn in it.
        advantage: Of its reward.
        loss: L(B_s; phi); 1.0 is chance, which is where the input is 0.
    """
    n = (len(x) - 2) // 2
    new = torch.zeros_like(x)
    new[source] = 1.0
    new[n], new[n + 1] = advantage, loss - 1.0
    new[n + 2 :] = x[n + 2 :]
    new[n + 2 + source] = 0.8 * x[n + 2 + source] + 0.2 * advantage
    return new
