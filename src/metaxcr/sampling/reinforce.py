"""The reinforced sampler's network: an LSTM over what happened in the episodes so far, as pure functions.

The reinforced sampler: an LSTM policy trained by REINFORCE on how much an episode helped the target.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from metaxcr.autodiff import value_and_grad
from metaxcr.sampling import reward_stats
from metaxcr.sampling.sampler import Feedback, Probabilities, State, softmax

Params = dict[str, Tensor]


def init_policy(sources: int, hidden: int, seed: int) -> Params:
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


def policy_step(psi: Params, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One episode: (input, hidden, cell) -> (logits over the sources, value, hidden, cell).

    Args:
        psi: From :func:`init_policy`.
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


@dataclass(frozen=True)
class Reinforce:
    """psi <- psi + eta grad sum_t [ w_t A_t log pi(i_t) + entropy H(pi_t) + barrier mean_j log pi_t(j) ].

    Every ``window`` rewards, with the gradient truncated at the window's start, by plain gradient ascent:
    Adam would divide the gradient by its own size and so make noise as strong as evidence. With

    - z_t the standardised reward, from mean and deviation of earlier rewards, clipped to +-3;
    - A_t = shrinkage_t * (z_t - V_t): V the learned baseline (the value head, fitted to z) or 0 (the running
      mean alone); shrinkage from :func:`metaxcr.sampling.reward_stats.shrinkage`, near 1 where the sources
      differ and below a half where noise explains the differences;
    - w_t = (1 / (n q_t(i_t))) ** balance: rare draws count more, so that a source at the floor can come back;
    - the log barrier, whose gradient 1 / n - pi_j does not vanish at small pi_j as that of the entropy does.

    With the rewards of all sources the expectation over draws replaces the draw, and the mean of the rewards
    under q is the baseline: it is measured on the same target batch.

    Args:
        sources: Number of sources, n.
        hidden: Width of the LSTM.
        rate: eta.
        entropy: Weight of the entropy bonus, nats.
        barrier: Weight of the log barrier.
        window: Rewards between two updates.
        balance: Exponent of the weights of rare draws, 0 to 1.
        baseline: Where V comes from.
        s_min: Smallest standard deviation of the rewards that they are divided by.
        memory: Decay of mean and variance of the rewards, a reward.
        horizon: Rewards after which the evidence about the sources has faded to 1 / e.

    Source:
        Williams 1992 (REINFORCE); Meta-RTL (arXiv 2409.19075), section 3; log barrier: Agarwal et al. 2021
        (JMLR 22(98)), section 5.2. Trust and balance are ours.
    """

    sources: int
    hidden: int = 16
    rate: float = 0.3
    entropy: float = 0.05
    barrier: float = 0.15
    window: int = 8
    balance: float = 0.5
    baseline: Literal["learned", "running"] = "running"
    s_min: float = 1e-9
    memory: float = 0.95
    horizon: float = 250.0

    @property
    def wants_reward(self) -> bool:
        """Yes."""
        return True

    def init(self, seed: int) -> State:
        """A uniform policy without memories."""
        width = input_width(self.sources)
        # safetensors refuses tensors that share memory, so each is its own
        state: State = {name: torch.zeros(self.hidden) for name in ("h", "c", "h0", "c0")}
        state |= {"x": torch.zeros(width), "inputs": torch.zeros(0, width), "targets": torch.zeros(0)}
        state["pulls"] = torch.zeros(0, self.sources)
        state |= reward_stats.init_scale() | reward_stats.init_evidence(self.sources)
        return state | {f"psi.{k}": v for k, v in init_policy(self.sources, self.hidden, seed).items()}

    def probabilities(self, state: State) -> Probabilities:
        """pi(. | state_t): softmax of the policy's logits."""
        return softmax(self._step(state)[0])

    @torch.no_grad()
    def _step(self, state: State) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return policy_step(_psi(state), state["x"], state["h"], state["c"])

    def update(self, state: State, feedback: Feedback) -> State:
        """Store the episode; at the end of a window, one step on psi. Without a reward nothing changes."""
        if not feedback.rewards:
            return state
        _, value, h, c = self._step(state)
        z = {j: reward_stats.standardise(state, r, self.s_min) for j, r in sorted(feedback.rewards.items())}
        new = dict(state)
        for j, reward in sorted(feedback.rewards.items()):
            new |= reward_stats.observe(new, reward, self.memory)
            new |= reward_stats.gather(new, j, z[j], 1 - 1 / self.horizon)
        baseline = self._baseline(feedback, z, float(value))
        advantages = {j: z_j - baseline for j, z_j in z.items()}
        pull = self._pull(feedback, advantages, reward_stats.shrinkage(new))
        seen = advantages.get(feedback.source, 0.0)
        target = sum(z.values()) / len(z)
        new |= {"h": h, "c": c, "x": next_input(state["x"], feedback.source, seen, feedback.loss)}
        new["inputs"] = torch.cat([state["inputs"], state["x"][None]])
        new["pulls"] = torch.cat([state["pulls"], pull[None]])
        new["targets"] = torch.cat([state["targets"], torch.tensor([target])])
        return self._learn(new) if len(new["inputs"]) == self.window else new

    def _baseline(self, feedback: Feedback, z: dict[int, float], value: float) -> float:
        """What an advantage is measured from, in units of z."""
        if len(z) > 1:
            return sum(float(feedback.probabilities[j]) * z_j for j, z_j in z.items())
        return value if self.baseline == "learned" else 0.0

    def _pull(self, feedback: Feedback, advantages: dict[int, float], trust: float) -> Tensor:
        """The coefficient of each log pi(j): (sources,)."""
        pull = torch.zeros(self.sources)
        for j, advantage in advantages.items():
            q = float(feedback.probabilities[j])
            weight = (1 / (self.sources * q)) ** self.balance
            pull[j] = trust * weight * advantage * (q if len(advantages) > 1 else 1.0)
        return pull

    def _objective(self, psi: dict[str, Tensor], state: State) -> Tensor:
        """What is descended along: minus the window's sum, and half the squared error of the baseline."""
        h, c = state["h0"], state["c0"]
        total = torch.zeros(())
        for x, pull, target in zip(state["inputs"], state["pulls"], state["targets"], strict=True):
            logits, value, h, c = policy_step(psi, x, h, c)
            log_p = torch.log_softmax(logits, 0)
            total = total - (pull * log_p).sum() - self.barrier * log_p.mean()
            total = total + self.entropy * (log_p.exp() * log_p).sum()
            if self.baseline == "learned":
                total = total + (value - target) ** 2 / 2
        return total

    def _learn(self, state: State) -> State:
        psi = _psi(state)
        _, gradient = value_and_grad(lambda p: self._objective(p, state), psi)
        new = dict(state) | {f"psi.{k}": p - self.rate * gradient[k] for k, p in psi.items()}
        new |= {"h0": state["h"].clone(), "c0": state["c"].clone()}
        return new | {name: state[name][:0] for name in ("inputs", "pulls", "targets")}


def _psi(state: State) -> dict[str, Tensor]:
    return {k.removeprefix("psi."): v for k, v in state.items() if k.startswith("psi.")}
