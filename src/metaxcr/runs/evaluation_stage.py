"""Evaluation of a run: the predictions of every language, regime and seed."""

from collections.abc import Iterable
from typing import Any

from metaxcr.autodiff import Params
from metaxcr.config.regimes import ALONE, REGIMES, WITH_SHOTS
from metaxcr.evaluation.predictions import Predictions, predict
from metaxcr.model.build import untrained_model
from metaxcr.runs.context import RunContext
from metaxcr.runs.ctml import ctml_result


def evaluate(run: RunContext, unit: str, regime: str, seed: int | None) -> None:
    """Predict every evaluated language that the regime covers and write the predictions."""
    languages = {language for language, _ in run.data.evaluation}
    if regime in WITH_SHOTS:
        languages &= run.data.shot_pool.keys()
    if regime == "zero-shot-aux":
        languages &= run.data.auxiliary_for.keys()
    with run.costs.stage("evaluate"):
        for done, language in enumerate(sorted(languages)):
            for method in REGIMES[regime].methods:
                for predictions in _predict(run, language, method, regime, seed):
                    predictions.write(run.folder.path / "predictions")
            run.progress.update(unit, done + 1, len(languages))


def _predict(
    run: RunContext, language: str, method: str, regime: str, seed: int | None
) -> Iterable[Predictions]:
    """Predictions of one method in one language, for each version of the test items."""
    data, model = run.data, run.model
    versions = [version for lang, version in data.evaluation if lang == language]
    if regime == "none":
        model = untrained_model(run.config, run.model.adapted.encoder)
        sets, phi = [data.baseline[language, version] for version in versions], model.params()
    else:
        assert seed is not None
        sets = [data.evaluation[language, version] for version in versions]
        phi = _phi(run, regime, method, seed, language)
    probabilities, tokens = predict(model, phi, sets, run.store)
    run.costs.add_passes("evaluate", tokens)
    k, total = _labels(run, regime, seed, language)
    about: dict[str, Any] = {
        "split": run.config.evaluate.split,
        "regime": regime,
        "method": method,
        "seed": seed,
    }
    for version, items, p in zip(versions, sets, probabilities, strict=True):
        yield Predictions(
            task=items.task,
            lang=items.language,
            data=version,
            k=k,
            total_labels=total,
            ids=items.ids,
            probabilities=p,
            labels=items.questions.labels.tolist(),
            **about,
        )


def _phi(run: RunContext, regime: str, method: str, seed: int, language: str) -> Params:
    """The parameters that answer in a language under a regime."""
    if regime == "zero-shot":
        return ctml_result(run, seed)[0]
    if regime == "zero-shot-aux":
        name = run.data.auxiliary_for[language].name
    elif regime == "few-shot":
        name = f"few-shot.{language}"
    elif method == ALONE:
        name = "pooled-alone"
    else:
        name = f"pooled.{language}" if run.config.clml.per_language else "pooled"
    return run.load_phi(f"{name}.seed{seed}")[0]


def _labels(run: RunContext, regime: str, seed: int | None, language: str) -> tuple[int, int]:
    """Labels used in the tested language, and in all languages but English together."""
    data = run.data
    if regime == "zero-shot-aux":
        used = data.auxiliary_for[language].auxiliary
        return 0, sum(len(data.auxiliary[name]) for name in used)
    if seed is None or regime not in WITH_SHOTS:
        return 0, 0
    k = len(data.shots[seed])
    return k, k * (len(data.shot_pool) if regime == "pooled-shots" else 1)
