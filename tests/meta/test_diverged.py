import pickle

import pytest
import torch

from metaxcr.meta.diverged import Diverged, require_finite


def test_finite_numbers_pass() -> None:
    finite = {"loss": 1.0, "losses": [0.0, -2.5], "phi": [torch.ones(2)], "scorer": torch.zeros(1)}
    assert require_finite(3, finite) is None
    with pytest.raises(Diverged):  # the last of them is looked at, too
        require_finite(3, finite | {"scorer": torch.tensor([float("nan")])})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), torch.tensor([1.0, float("-inf")])])
def test_the_first_number_that_is_not_finite_is_named(bad: float | torch.Tensor) -> None:
    with pytest.raises(Diverged, match="step 7: the query loss is not finite") as stopped:
        require_finite(7, {"support loss": [0.1], "query loss": [0.5, bad], "reward": float("nan")})
    assert (stopped.value.step, stopped.value.term) == (7, "query loss")


def test_the_exception_passes_between_processes() -> None:
    again = pickle.loads(pickle.dumps(Diverged(2, "reward")))
    assert (again.step, again.term, str(again)) == (2, "reward", "step 2: the reward is not finite")
