"""The reinforced sampler: an LSTM policy trained by REINFORCE on how much an episode helped the target."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from metaxcr.meta.inner import value_and_grad
from metaxcr.meta.optim import Adam
from metaxcr.sampling.base import Probabilities, State


class Policy(nn.Module):
    """LSTM cell and a linear layer: (input, hidden, cell) -> (logits over the sources, hidden, cell)."""

    def __init__(self, sources: int, hidden: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(2 * sources + 1, hidden)
        self.out = nn.Linear(hidden, sources)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step; ``x`` is (2 * sources + 1,)."""
        h, c = self.cell(x[None], (h[None], c[None]))
        return self.out(h[0]), h[0], c[0]


@dataclass(frozen=True)
class Reinforce:
    """psi <- psi + eta * advantage * grad log pi(i) + entropy bonus, every ``window`` episodes.

    The policy's input at step t: which source was drawn last (one-hot), its advantage, and a running mean of
    the advantages of each source. The advantage is clip((r_t - b) / max(s, s_min), +-3) with the running mean
    b and standard deviation s of earlier rewards only. Gradients are truncated at the window's start.

    Args:
        sources: Number of sources.
        hidden: Width of the LSTM.
        rate: eta, the learning rate (Adam).
        entropy: Weight of the entropy bonus, in units of log n.
        window: Episodes between two updates, M.
        s_min: Smallest standard deviation of the rewards that advantages are divided by.
        memory: Decay of the running mean and variance of the rewards.

    Source:
        Williams 1992 (REINFORCE); Meta-RTL (arXiv 2409.19075), section 3.
    """

    sources: int
    hidden: int = 32
    rate: float = 0.01
    entropy: float = 0.05
    window: int = 8
    s_min: float = 1e-4
    memory: float = 0.95

    @property
    def wants_reward(self) -> bool:
        """Yes."""
        return True

    @cached_property
    def _policy(self) -> Policy:
        return Policy(self.sources, self.hidden)

    def init(self, seed: int) -> State:
        """A policy that starts uniform: its output layer is zero."""
        generator = torch.Generator().manual_seed(seed)
        params = {}
        for name, p in self._policy.named_parameters():
            bound = 0.0 if name.startswith("out") else self.hidden**-0.5
            params[name] = (torch.rand(p.shape, generator=generator) * 2 - 1) * bound
        # safetensors refuses tensors that share memory, so each is its own
        state: State = {name: torch.zeros(self.hidden) for name in ("h", "c", "h0", "c0")}
        state |= {
            "x": torch.zeros(2 * self.sources + 1),
            "reward_mean": torch.zeros((), dtype=torch.float64),
            "reward_var": torch.zeros((), dtype=torch.float64),
            "rewards": torch.zeros((), dtype=torch.int64),
            "inputs": torch.zeros(0, 2 * self.sources + 1),
            "actions": torch.zeros(0, dtype=torch.int64),
            "advantages": torch.zeros(0),
        }
        state |= {f"adam.{k}": v for k, v in Adam().init(params).items()}
        return state | {f"psi.{k}": v for k, v in params.items()}

    def probabilities(self, state: State) -> Probabilities:
        """pi(. | state_t): softmax of the policy's logits."""
        logits, _, _ = self._step(state)
        p: Probabilities = torch.softmax(logits.double(), 0).numpy()
        normalised: Probabilities = p / p.sum()
        return normalised

    @torch.no_grad()
    def _step(self, state: State) -> tuple[Tensor, Tensor, Tensor]:
        step: tuple[Tensor, Tensor, Tensor] = functional_call(
            self._policy, _part(state, "psi."), (state["x"], state["h"], state["c"])
        )
        return step

    def advantage(self, state: State, reward: float) -> float:
        """clip((r - b) / max(s, s_min), +-3), b and s from earlier rewards; 0 before there are any."""
        if int(state["rewards"]) == 0:
            return 0.0
        deviation = max(math.sqrt(float(state["reward_var"])), self.s_min)
        return float(np.clip((reward - float(state["reward_mean"])) / deviation, -3.0, 3.0))

    def update(self, state: State, source: int, reward: float) -> State:
        """Store the episode; at the end of a window, one REINFORCE step on psi."""
        advantage = self.advantage(state, reward)
        _, h, c = self._step(state)
        new = dict(state) | self._statistics(state, reward)
        new |= {"h": h, "c": c, "x": self._input(state, source, advantage)}
        new["inputs"] = torch.cat([state["inputs"], state["x"][None]])
        new["actions"] = torch.cat([state["actions"], torch.tensor([source])])
        new["advantages"] = torch.cat([state["advantages"], torch.tensor([advantage])])
        return self._learn(new) if len(new["actions"]) == self.window else new

    def _statistics(self, state: State, reward: float) -> State:
        """Running mean and variance of the rewards; the plain ones until the memory is full."""
        count = int(state["rewards"]) + 1
        weight = max(1 / count, 1 - self.memory)
        mean, var = float(state["reward_mean"]), float(state["reward_var"])
        delta = reward - mean
        return {
            "reward_mean": torch.tensor(mean + weight * delta, dtype=torch.float64),
            "reward_var": torch.tensor((1 - weight) * (var + weight * delta * delta), dtype=torch.float64),
            "rewards": torch.tensor(count),
        }

    def _input(self, state: State, source: int, advantage: float) -> Tensor:
        n = self.sources
        means = state["x"][n + 1 :].clone()
        means[source] = 0.8 * means[source] + 0.2 * advantage
        last = torch.zeros(n)
        last[source] = 1.0
        return torch.cat([last, torch.tensor([advantage]), means])

    def _objective(self, psi: dict[str, Tensor], state: State) -> Tensor:
        """Minus the window's expected advantage and entropy, with the gradient cut at the window's start."""
        h, c = state["h0"], state["c0"]
        terms = []
        for x, action, advantage in zip(state["inputs"], state["actions"], state["advantages"], strict=True):
            logits, h, c = functional_call(self._policy, psi, (x, h, c))
            log_p = torch.log_softmax(logits, 0)
            entropy = -(log_p.exp() * log_p).sum() / math.log(max(2, self.sources))
            terms.append(advantage * log_p[action] + self.entropy * entropy)
        return -torch.stack(terms).mean()

    def _learn(self, state: State) -> State:
        psi = _part(state, "psi.")
        _, gradient = value_and_grad(lambda p: self._objective(p, state), psi)
        psi, adam = Adam().update(gradient, _part(state, "adam."), psi, self.rate)
        new = dict(state) | {f"psi.{k}": v for k, v in psi.items()}
        new |= {f"adam.{k}": v for k, v in adam.items()}
        new |= {"h0": state["h"].clone(), "c0": state["c"].clone()}
        return new | {name: state[name][:0] for name in ("inputs", "actions", "advantages")}


def _part(state: State, prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
