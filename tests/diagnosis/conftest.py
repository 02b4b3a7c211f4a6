"""Made-up event logs, healthy unless told otherwise."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metaxcr.diagnosis.findings import Evidence

SOURCES = ("a", "b", "c", "d")
UNIFORM = [0.25] * 4
Log = Callable[..., Evidence]


@pytest.fixture
def log() -> Log:
    """Build the evidence of a run of CTML.

    Args of what it returns:
        steps, seeds: How long.
        probabilities: step -> policy; default: leans to the first source from half-way on.
        reward: (step, source) -> mean reward.
        query: step -> query loss.
        inner: step -> the path of the support loss.
        alignment: language -> contrastive loss.
        extra: Further events.
        config, results: As in their files.
    """

    def build(
        steps: int = 120,
        seeds: tuple[int, ...] = (0, 1),
        probabilities: Callable[[int], list[float]] = lambda t: (
            [0.4, 0.2, 0.2, 0.2] if t > 60 else [0.25] * 4
        ),
        reward: Callable[[int, str], float] = lambda t, source: 0.01,
        query: Callable[[int], float] = lambda t: 0.8 if t > 30 else 1.0,
        inner: Callable[[int], list[float]] = lambda t: [1.0, 0.9],
        alignment: dict[str, float] | None = None,
        extra: tuple[dict[str, Any], ...] = (),
        config: dict[str, Any] | None = None,
        results: dict[str, Any] | None = None,
    ) -> Evidence:
        events = []
        languages = list((alignment or {"sw": 0.1}).items())
        for seed in seeds:
            draw = np.random.default_rng(seed)
            for t in range(steps):
                p = probabilities(t)
                source = SOURCES[int(draw.choice(4, p=p))]
                language, aligned = languages[t % len(languages)]
                events.append(
                    {
                        "stage": "ctml", "seed": seed, "step": t, "source": source,
                        "probabilities": dict(zip(SOURCES, p, strict=True)),
                        "reward": reward(t, source) + 0.01 * float(draw.normal()),
                        "support_loss": 1.0, "inner_losses": inner(t),
                        "query_loss": query(t) + 0.02 * float(draw.normal()),
                        "alignment_loss": aligned + 0.02 * float(draw.normal()),
                        "alignment_language": language,
                    }
                )  # fmt: skip
        sampler = {"sampler": {"kind": "reinforce", "floor": 0.0}}
        return Evidence([*events, *extra], config if config is not None else sampler, results or {})

    return build
