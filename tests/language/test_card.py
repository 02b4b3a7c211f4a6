"""The card of a language adapter."""

from collections.abc import Callable

import yaml

from metaxcr.language.card import card
from metaxcr.language.work import Request

RESULT = {
    "encoder": "toy",
    "seed": 3,
    "parameters": 1234,
    "vocabulary": 4321,
    "targets": 99,
    "sizes": {"train": {"lines": 60, "tokens": 5000}, "stop": {"lines": 8}, "test": {"lines": 9}},
    "losses": [
        {"what": "own head", "loss": 2.0, "perplexity": 7.39},
        {"what": "head + adapter", "loss": 1.5, "perplexity": 4.48, "best_step": 40},
    ],
    "gain": {"over": "own head", "mean": 0.5, "low": 0.4, "high": 0.6, "p": 1e-9},
}


def test_it_says_what_was_trained_on_what_and_what_it_changed(request_of: Callable[..., Request]) -> None:
    text = card(request_of(layers=[0, 1], invertible=False), RESULT)
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["language"] == ["sw"]
    for part in (
        "layers: 0, 1; reduction 2; no invertible part; 1,234 parameters",
        "| toy.txt | 80 | none |  |",
        "60 lines (5,000 tokens) were trained on, 8 decided when to stop, and 9 decided nothing",
        "| own head | 2.000 | 7.4 |  |",
        "| head + adapter | 1.500 | 4.5 | 40 |",
        "gain over own head: 0.500 nats [0.400, 0.600] (95 %, paired over held-out sequences, p < 0.0001).",
        "The decoder knows the 4,321 tokens",
    ):
        assert part in body
    assert "p = 0.02)" in card(request_of(), {**RESULT, "gain": {**RESULT["gain"], "p": 0.02}})  # type: ignore[dict-item]
