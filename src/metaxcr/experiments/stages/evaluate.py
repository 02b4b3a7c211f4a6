"""Evaluation: the predictions of every language, regime and seed."""

from metaxcr.evaluation.predict import predict
from metaxcr.evaluation.predictions import Predictions
from metaxcr.experiments.stages.context import RunContext
from metaxcr.experiments.stages.ctml import ctml_result
from metaxcr.meta.inner import Params
from metaxcr.scoring.batch import TaskData
from metaxcr.scoring.build import build_model

METHODS = {"none": "similarity", "zero-shot": "ctml", "zero-shot-aux": "clml", "few-shot": "finetune"}


def evaluate(run: RunContext, unit: str, regime: str, seed: int | None) -> None:
    """Predict every evaluated language and write the predictions."""
    languages = {language for language, _ in run.material.evaluation}
    if regime == "few-shot":
        languages &= run.material.shot_pool.keys()
    if regime == "zero-shot-aux":
        languages -= run.material.auxiliary.keys()
    with run.costs.stage("evaluate"):
        for done, language in enumerate(sorted(languages)):
            _predict(run, language, METHODS[regime], regime, seed)
            run.progress.update(unit, done + 1, len(languages))


def _predict(run: RunContext, language: str, method: str, regime: str, seed: int | None) -> None:
    kinds = [kind for lang, kind in run.material.evaluation if lang == language]
    model = run.model
    if regime == "none":
        model = build_model(run.config, run.model.adapted.encoder, 0, kind="dual")
        sets, phi = [run.material.baseline[language, kind] for kind in kinds], model.params()
    else:
        sets = [run.material.evaluation[language, kind] for kind in kinds]
        phi = _phi(run, regime, seed, language)
    probabilities, tokens = predict(model, phi, sets, run.store)
    run.costs.add_passes("evaluate", tokens)
    for kind, data, p in zip(kinds, sets, probabilities, strict=True):
        _record(run, data, kind, method, regime, seed, p).write(run.folder.path / "predictions")


def _phi(run: RunContext, regime: str, seed: int | None, language: str) -> Params:
    if regime == "few-shot":
        return run.folder.load_state(f"few-shot.{language}.seed{seed}")
    if regime == "zero-shot-aux":
        return run.folder.load_state(f"clml.seed{seed}")
    assert seed is not None
    return ctml_result(run, seed)[0]


def _record(
    run: RunContext,
    data: TaskData,
    kind: str,
    method: str,
    regime: str,
    seed: int | None,
    probabilities: list[list[float]],
) -> Predictions:
    k = len(run.material.shots[seed]) if regime == "few-shot" and seed is not None else 0
    auxiliary = sum(len(d) for d in run.material.auxiliary.values())
    return Predictions(
        task=data.task,
        lang=data.language,
        split=run.config.evaluate.split,
        data=kind,
        regime=regime,
        method=method,
        seed=seed,
        k=k,
        total_labels=auxiliary if regime == "zero-shot-aux" else k,
        ids=data.ids,
        probabilities=probabilities,
        labels=data.questions.labels.tolist(),
    )
