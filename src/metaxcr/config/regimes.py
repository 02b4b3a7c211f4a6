"""The regimes of a run: the labels each may learn from, its training stages, the methods it evaluates."""

from dataclasses import dataclass
from typing import Literal

RegimeName = Literal["zero-shot", "zero-shot-aux", "few-shot", "pooled-shots"]
ALONE = "finetune-alone"  # method: fine-tuning without CLML, on the same labels


@dataclass(frozen=True)
class Regime:
    """One regime."""

    labels: str  # which labels it learns from, for the glossary of a report
    methods: tuple[str, ...]  # the methods whose predictions it evaluates
    stages: tuple[str, ...] = ()  # its training stages, as costs.json names them
    shots: bool = False  # whether it learns from labelled examples (shots) in the tested language
    several_languages: bool = False  # whether it learns from labels in several languages other than English


REGIMES = {
    "none": Regime(
        "No training: the baseline “similarity” ranks choices by the cosine of the encoder's vectors.",
        ("similarity",),
    ),
    "zero-shot": Regime(
        "Trained on English labels only; no label in any other language was touched.", ("ctml",), ("ctml",)
    ),
    "zero-shot-aux": Regime(
        "Also trained on labels in other languages, but none in the language that is tested.",
        ("clml",),
        ("ctml", "clml"),
        several_languages=True,
    ),
    "few-shot": Regime(
        "Also trained on k labelled examples (shots) in the language that is tested.",
        ("finetune",),
        ("ctml", "clml", "finetune"),
        shots=True,
    ),
    "pooled-shots": Regime(
        "k labelled examples in each of several languages, the tested one among them.",
        ("finetune", ALONE),
        ("ctml", "clml", "finetune"),
        shots=True,
        several_languages=True,
    ),
}
WITH_SHOTS = tuple(name for name, regime in REGIMES.items() if regime.shots)
SEVERAL_LANGUAGES = tuple(name for name, regime in REGIMES.items() if regime.several_languages)
