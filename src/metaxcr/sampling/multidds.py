"""MultiDDS: sources whose gradients point the target's way are drawn more often."""

from dataclasses import dataclass

import torch

from metaxcr.sampling.sampler import Feedback, Probabilities, State, softmax


@dataclass(frozen=True)
class MultiDDS:
    """psi <- psi + lr * sum_j w_j r_j grad log pi(j), pi = softmax(psi), r_j = cos(grad_j, grad_target).

    Meant for the reward ``gradient-cosine`` of all sources, w_j = 1 / n; with the drawn source alone
    w_i = 1 / (n q_i) makes the same step on average. There is no baseline, as in the paper.

    Args:
        sources: Number of sources.
        lr: Learning rate; cosines of mini-batches are of the order of 0.1.

    Source:
        Wang et al. 2020 (arXiv 2004.06748), algorithm 1 and equation 6.
    """

    sources: int
    lr: float = 1.0

    @property
    def wants_reward(self) -> bool:
        """Yes."""
        return True

    def init(self, seed: int) -> State:
        """A uniform policy."""
        return {"psi": torch.zeros(self.sources, dtype=torch.float64)}

    def probabilities(self, state: State) -> Probabilities:
        """softmax(psi)."""
        return softmax(state["psi"])

    def update(self, state: State, feedback: Feedback) -> State:
        """One step of the policy gradient."""
        pi, step = state["psi"].softmax(0), torch.zeros(self.sources, dtype=torch.float64)
        for source, reward in sorted(feedback.rewards.items()):
            drawn = float(feedback.probabilities[source]) if len(feedback.rewards) == 1 else 1.0
            one = torch.zeros_like(step)
            one[source] = 1.0
            step += reward / (self.sources * drawn) * (one - pi)
        return state | {"psi": state["psi"] + self.lr * step}
