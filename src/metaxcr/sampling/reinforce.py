"""The reinforced sampler: an LSTM policy over the sources, trained by REINFORCE on their rewards.

From top to bottom: the policy network, the textbook REINFORCE loss, the regularisers around it, and the
sampler that turns rewards into advantages and takes the steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from metaxcr.autodiff import Params, value_and_grad
from metaxcr.sampling import reward_stats
from metaxcr.sampling.sampler import Feedback, Probabilities, State, softmax


def init_policy(sources: int, hidden: int, seed: int) -> Params:
    """First parameters: the heads are zero, so that the policy starts uniform and the baseline at 0."""
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
    """Source drawn last (n), its advantage (1), its support loss (1), a running mean of advantages (n)."""
    return 2 * sources + 2


def next_input(x: Tensor, source: int, advantage: float, loss: float) -> Tensor:
    """The policy's input after an episode.

    Args:
        x: The input before it.
        source: Drawn in it.
        advantage: Of its reward.
        loss: L(B_s; phi); chance is 1.0, where the input is 0.
    """
    n = (len(x) - 2) // 2
    new = torch.zeros_like(x)
    new[source] = 1.0
    new[n], new[n + 1] = advantage, loss - 1.0
    new[n + 2 :] = x[n + 2 :]
    new[n + 2 + source] = 0.8 * x[n + 2 + source] + 0.2 * advantage
    return new


def unroll(psi: Params, h: Tensor, c: Tensor, inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Compute log pi_t and value of each of the episodes with these inputs, from the LSTM state (h, c) on."""
    log_p, values = [], []
    for x in inputs:
        logits, value, h, c = policy_step(psi, x, h, c)
        log_p.append(torch.log_softmax(logits, 0))
        values.append(value)
    return log_p, values


def reinforce_loss(log_p: Sequence[Tensor], advantages: Tensor) -> Tensor:
    """- sum_t sum_j A_t(j) log pi_t(j); minus its gradient is the policy gradient.

    With the reward of the drawn source alone, A_t(j) is 0 for all other sources.

    Args:
        log_p: Of each episode, (sources,).
        advantages: (episodes, sources).

    Source:
        Williams 1992 (Machine Learning 8), REINFORCE.
    """
    return -torch.stack([(a * p).sum() for a, p in zip(advantages, log_p, strict=True)]).sum()


def log_barrier(log_p: Sequence[Tensor]) -> Tensor:
    """Sum_t mean_j log pi_t(j).

    Its gradient 1 / n - pi_j does not vanish at small pi_j, unlike the entropy's.

    Source:
        Agarwal et al. 2021 (JMLR 22(98)), section 5.2.
    """
    return torch.stack([p.mean() for p in log_p]).sum()


def entropy(log_p: Sequence[Tensor]) -> Tensor:
    """Sum_t H(pi_t), nats."""
    return -torch.stack([(p.exp() * p).sum() for p in log_p]).sum()


@dataclass(frozen=True)
class Reinforce:
    """A policy pi_psi over the sources, updated every ``window`` rewards.

    psi <- psi + lr * grad of sum_t [ A_t log pi(i_t) + entropy H(pi_t) + barrier mean_j log pi_t(j) ]

    with the gradient truncated at the window's start. Plain gradient ascent: Adam would divide the gradient
    by its own size and so make noise as strong as evidence. A reward r_t becomes an advantage in four steps:

    1. normalise: z_t, by mean and deviation of earlier rewards, clipped to +-3;
    2. baseline: z_t - V_t, V from the value head (fitted to z) or 0 (the running mean of step 1 alone);
    3. shrinkage: times :func:`metaxcr.sampling.reward_stats.shrinkage`, near 1 where the sources differ and
       below a half where noise explains the differences;
    4. balance: times (1 / (n q_t(i_t))) ** balance, so that a rarely drawn source can come back.

    With the rewards of all sources the expectation over draws replaces the draw, and the baseline is the mean
    of the rewards under q: it is measured on the same target batch.

    Args:
        sources: Number of sources, n.
        hidden: Width of the LSTM.
        lr: Learning rate.
        entropy: Weight of the entropy bonus.
        barrier: Weight of the log barrier.
        window: Rewards between two updates.
        balance: Exponent of the weights of rare draws, 0 to 1.
        baseline: Where V comes from.
        s_min: Smallest standard deviation that rewards are divided by.
        memory: Decay a reward of the rewards' mean and variance.
        horizon: Rewards after which the evidence about the sources has faded to 1 / e.

    Source:
        Williams 1992 (REINFORCE); Meta-RTL (arXiv 2409.19075), section 3. Shrinkage and balance are ours.
    """

    sources: int
    hidden: int = 16
    lr: float = 0.3
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
        state |= reward_stats.init_normalizer() | reward_stats.init_stats(self.sources)
        return state | {f"psi.{k}": v for k, v in init_policy(self.sources, self.hidden, seed).items()}

    def probabilities(self, state: State) -> Probabilities:
        """pi(. | state_t): softmax of the policy's logits."""
        return softmax(self._step(state)[0])

    @torch.no_grad()
    def _step(self, state: State) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return policy_step(_psi(state), state["x"], state["h"], state["c"])

    def update(self, state: State, feedback: Feedback) -> State:
        """Remember the episode; at the end of a window, one step on psi. Without a reward nothing changes."""
        if not feedback.rewards:
            return state
        _, value, h, c = self._step(state)
        z = {j: reward_stats.normalise(state, r, self.s_min) for j, r in sorted(feedback.rewards.items())}
        new = dict(state)
        for j, reward in sorted(feedback.rewards.items()):
            new |= reward_stats.update_normalizer(new, reward, self.memory)
            new |= reward_stats.update_stats(new, j, z[j], 1 - 1 / self.horizon)
        centred = self._minus_baseline(z, feedback, float(value))
        advantages = self._advantages(centred, feedback, reward_stats.shrinkage(new))
        seen, target = centred.get(feedback.source, 0.0), sum(z.values()) / len(z)
        new |= {"h": h, "c": c, "x": next_input(state["x"], feedback.source, seen, feedback.loss)}
        new["inputs"] = torch.cat([state["inputs"], state["x"][None]])
        new["pulls"] = torch.cat([state["pulls"], advantages[None]])  # the name of A_t in checkpoints
        new["targets"] = torch.cat([state["targets"], torch.tensor([target])])
        return self._ascend(new) if len(new["inputs"]) == self.window else new

    def _minus_baseline(self, z: dict[int, float], feedback: Feedback, value: float) -> dict[int, float]:
        """Subtract the baseline: z - V of the rewarded sources."""
        if len(z) > 1:
            baseline = sum(float(feedback.probabilities[j]) * z_j for j, z_j in z.items())
        else:
            baseline = value if self.baseline == "learned" else 0.0
        return {j: z_j - baseline for j, z_j in z.items()}

    def _advantages(self, centred: dict[int, float], feedback: Feedback, shrinkage: float) -> Tensor:
        """A_t(j), the coefficient of each log pi(j): (sources,)."""
        advantages = torch.zeros(self.sources)
        for j, advantage in centred.items():
            q = float(feedback.probabilities[j])
            weight = (1 / (self.sources * q)) ** self.balance
            advantages[j] = shrinkage * weight * advantage * (q if len(centred) > 1 else 1.0)
        return advantages

    def _ascend(self, state: State) -> State:
        """One step on psi, and the next window is empty."""

        def loss(psi: Params) -> Tensor:
            log_p, values = unroll(psi, state["h0"], state["c0"], state["inputs"])
            total = reinforce_loss(log_p, state["pulls"])
            total = total - self.barrier * log_barrier(log_p) - self.entropy * entropy(log_p)
            if self.baseline == "learned":
                total = total + ((torch.stack(values) - state["targets"]) ** 2 / 2).sum()
            return total

        psi = _psi(state)
        _, gradient = value_and_grad(loss, psi)
        new = dict(state) | {f"psi.{k}": p - self.lr * gradient[k] for k, p in psi.items()}
        new |= {"h0": state["h"].clone(), "c0": state["c"].clone()}
        return new | {name: state[name][:0] for name in ("inputs", "pulls", "targets")}


def _psi(state: State) -> Params:
    return {k.removeprefix("psi."): v for k, v in state.items() if k.startswith("psi.")}
