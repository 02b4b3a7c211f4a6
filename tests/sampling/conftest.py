"""What the tests of samplers share."""

from collections.abc import Callable

import numpy as np
import pytest

from metaxcr.sampling.sampler import Feedback

Tell = Callable[..., Feedback]


@pytest.fixture
def tell() -> Tell:
    """Feedback with uniform probabilities; ``rewards`` may be one number: of the drawn source."""

    def make(sources: int, source: int, rewards: float | dict[int, float], loss: float = 1.0) -> Feedback:
        paid = rewards if isinstance(rewards, dict) else {source: rewards}
        return Feedback(source, np.full(sources, 1 / sources), paid, loss)

    return make
