"""The language probe: what it finds and what it does not."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from metaxcr.evaluation.probe import PENALTY, _fit, language_probe


def vectors(shift: float, sentences: int, seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    topics = torch.randn(sentences, 6, generator=draw)
    found = {}
    for n, name in enumerate(("et", "qu", "sw")):
        found[name] = topics + 0.5 * torch.randn(sentences, 6, generator=draw)
        found[name][:, n] += shift
    return found


def test_shifted_languages_are_told_apart_and_others_are_not() -> None:
    clear = language_probe(vectors(8, 80, 0), vectors(8, 200, 1))
    assert clear["accuracy"] > 0.98 and set(clear["by_language"]) == {"et", "qu", "sw"}
    none = language_probe(vectors(0, 80, 0), vectors(0, 200, 1))
    assert none["ci95"][0] < none["chance"] < none["ci95"][1] and none["chance"] == 0.3333
    mean = sum(clear["by_language"].values()) / 3
    assert clear["accuracy"] == pytest.approx(mean, abs=1e-3)


def test_it_is_penalised_logistic_regression() -> None:
    draw = torch.Generator().manual_seed(3)
    features, labels = torch.randn(60, 4, generator=draw), torch.randint(0, 3, (60,), generator=draw)
    weight, bias = _fit(features, labels, torch.full((60,), 1 / 60), 3)
    x, y = features.double().numpy(), labels.numpy()

    def loss(flat: np.ndarray) -> float:
        w, b = flat[:12].reshape(3, 4), flat[12:]
        z = x @ w.T + b
        return float((logsumexp(z, axis=1) - z[np.arange(60), y]).mean() + PENALTY * np.square(w).sum() / 4)

    best = minimize(loss, np.zeros(15), method="BFGS").x
    assert np.allclose(weight.numpy(), best[:12].reshape(3, 4), atol=2e-2)
    assert loss(np.concatenate([weight.numpy().ravel(), bias.numpy()])) == pytest.approx(loss(best), abs=1e-4)


def test_scale_tells_nothing() -> None:
    train, test = vectors(1, 60, 0), vectors(1, 60, 1)
    scaled = [
        {k: v * torch.tensor([1e3, 1, 1, 1e-3, 1, 1]) for k, v in part.items()} for part in (train, test)
    ]
    assert language_probe(*scaled)["by_language"] == language_probe(train, test)["by_language"]


def test_it_needs_two_languages_and_the_same_in_both_parts() -> None:
    some = vectors(1, 10, 0)
    for train, test in (({"et": some["et"]}, {"et": some["et"]}), (some, {"et": some["et"]})):
        with pytest.raises(ValueError, match="the same two languages"):
            language_probe(train, test)
