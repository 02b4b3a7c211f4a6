"""Which language is it, before and after the adapters? Writes apart.json.

python docs/results/language-adapters/apart.py ADAPTERS SENTENCES [CTML_RUN] > apart.json

A linear probe on mean vectors, trained on the first SENTENCES of FLORES-200 dev in each language and
tested on as many of devtest: for the encoder alone; and in the stack of language adapter and task adapter
(first seed) for the vectors before the language adapter, after it, and after the task adapter.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from metaxcr.adapters.adapter_files import ADAPTERS, load_language, load_task
from metaxcr.data.corpora import load_parallel
from metaxcr.encoders.loading import load_encoder
from metaxcr.evaluation.alignment import layer_vectors
from metaxcr.evaluation.statistics import crossed_interval, language_average
from metaxcr.saved_model import META

POINTS = ("before the language adapter", "after the language adapter", "after the task adapter")
PENALTY = 1e-2  # of the mean squared weight per feature, beside a mean cross-entropy; fixed, not tuned
STEPS = 50  # iterations of L-BFGS, enough to converge on a few thousand vectors


def main(adapters_dir: Path, run: Path | None, sentences: int) -> None:
    """Probe every layer at every point and print the table."""
    torch.set_num_threads(1)
    encoder = load_encoder("embedded")
    folders = {
        f.parent.name.removeprefix("lang."): f.parent for f in sorted(adapters_dir.glob("lang.*/result.json"))
    }
    adapters = {code: load_language(folder, encoder) for code, folder in folders.items()}
    task = load_task(run / ADAPTERS / META, encoder) if run else {}
    vectors: dict[str, dict[str, dict[str, torch.Tensor]]] = {"alone": {}, "stack": {}}
    for split in ("dev", "devtest"):
        corpus = load_parallel("flores200", split, list(adapters)).sentences
        for kind in vectors:
            vectors[kind][split] = {
                code: layer_vectors(
                    encoder,
                    corpus[code][:sentences],
                    [adapters[code].by_layer.get, task.get] if kind == "stack" else [],
                    invertible=adapters[code].invertible if kind == "stack" else None,
                )
                for code in adapters
            }
    rows = []
    for layer in range(encoder.depth + 1):
        points = {"encoder alone": ("alone", 0)}
        if layer - 1 in task or any(layer - 1 in a.by_layer for a in adapters.values() if layer):
            points |= {name: ("stack", level) for level, name in enumerate(POINTS)}
        for name, (kind, level) in points.items():
            train, test = (
                {code: v[level, layer] for code, v in vectors[kind][split].items()}
                for split in ("dev", "devtest")
            )
            rows.append({"layer": layer, "point": name, **language_probe(train, test)})
    print(json.dumps({"languages": list(adapters), "sentences": sentences, "rows": rows}, indent=1))


def language_probe(train: Mapping[str, Tensor], test: Mapping[str, Tensor]) -> dict[str, Any]:
    """Train multinomial logistic regression to tell languages apart by their sentence vectors, and test it.

    Both parts are language -> (sentences, width), with the same sentences in every language. Features are
    standardised by the training vectors; all languages have the same weight.

    Returns:
        ``accuracy`` on the test vectors, mean over languages, with ``ci95`` clustered by sentence (the
        translations of a sentence are one draw); ``chance``; ``by_language``.

    Raises:
        ValueError: Fewer than two languages, or other ones in ``test``.
    """
    names = list(train)
    if len(names) < 2 or list(test) != names:
        raise ValueError("a probe needs the same two languages or more in both parts")
    features = torch.cat([vectors.float() for vectors in train.values()])
    counts = torch.tensor([len(vectors) for vectors in train.values()])
    labels = torch.arange(len(names)).repeat_interleave(counts)
    shares = (1 / counts).repeat_interleave(counts) / len(names)
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
        loss.backward()
        return loss

    optimiser.step(closure)
    return weight.detach(), bias.detach()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[3]) if len(sys.argv) > 3 else None, int(sys.argv[2]))
