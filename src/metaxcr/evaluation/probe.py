"""Which language is it? A linear probe on sentence vectors: what of a language is left in them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from metaxcr.evaluation.intervals import crossed_interval, language_average

PENALTY = 1e-2  # of the mean squared weight per feature, beside a mean cross-entropy; fixed, not tuned
STEPS = 50  # iterations of L-BFGS, enough to converge on a few thousand vectors


def language_probe(train: Mapping[str, Tensor], test: Mapping[str, Tensor]) -> dict[str, Any]:
    """Train multinomial logistic regression to tell languages apart, and test it.

    Features are standardised by the training vectors, so that scale tells nothing. All languages weigh alike.

    Args:
        train: Language -> (sentences, width); the same sentences in every language.
        test: The same for other sentences.

    Returns:
        ``accuracy`` on the test vectors, mean over languages, with ``ci95`` clustered by sentence: the
        translations of a sentence count as one draw; ``chance``; ``by_language``.

    Raises:
        ValueError: Fewer than two languages, or other ones in ``test``.
    """
    names = list(train)
    if len(names) < 2 or list(test) != names:
        raise ValueError("a probe needs the same two languages or more in both parts")
    features = torch.cat([train[name].float() for name in names])
    labels = torch.cat([torch.full((len(train[name]),), n) for n, name in enumerate(names)])
    shares = torch.cat([torch.full((len(train[name]),), 1 / len(train[name])) for name in names]) / len(names)
    mean, scale = features.mean(0), features.std(0).clamp(min=1e-6)
    weight, bias = _fit((features - mean) / scale, labels, shares, len(names))
    blocks, by_language = [], {}
    for n, name in enumerate(names):
        guesses = (((test[name].float() - mean) / scale) @ weight.T + bias).argmax(1)
        right = (guesses == n).double().numpy()
        blocks.append(([f"{row:06}" for row in range(len(right))], right[:, None]))
        by_language[name] = round(float(right.mean()), 4)
    found = crossed_interval(np.asarray(language_average(blocks)))
    return {
        "accuracy": round(found.mean, 4),
        "ci95": [round(max(0.0, found.low), 4), round(min(1.0, found.high), 4)],
        "chance": round(1 / len(names), 4),
        "by_language": by_language,
    }


def _fit(features: Tensor, labels: Tensor, shares: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Weights (classes, width) and biases (classes,) of penalised logistic regression, from zero."""
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        losses = F.cross_entropy(features @ weight.T + bias, labels, reduction="none")
        loss = (losses * shares).sum() + PENALTY * weight.square().sum() / features.shape[1]
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()
