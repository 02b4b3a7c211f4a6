"""Evaluation: the predictions of every language, regime and seed."""

from metaxcr.config import WITH_SHOTS
from metaxcr.evaluation.predict import predict
from metaxcr.evaluation.predictions import Predictions
from metaxcr.evaluation.results import ALONE
from metaxcr.experiments.stages.context import RunContext
from metaxcr.experiments.stages.ctml import ctml_result
from metaxcr.meta.inner import Params
from metaxcr.scoring.batch import TaskData
from metaxcr.scoring.build import untrained_model

METHODS = {
    "none": ("similarity",),
    "zero-shot": ("ctml",),
    "zero-shot-aux": ("clml",),
    "few-shot": ("finetune",),
    "pooled-shots": ("finetune", ALONE),
}


def evaluate(run: RunContext, unit: str, regime: str, seed: int | None) -> None:
    """Predict every evaluated language that the regime covers and write the predictions."""
    languages = {language for language, _ in run.material.evaluation}
    if regime in WITH_SHOTS:
        languages &= run.material.shot_pool.keys()
    if regime == "zero-shot-aux":
        languages &= run.material.auxiliary_for.keys()
    with run.costs.stage("evaluate"):
        for done, language in enumerate(sorted(languages)):
            for method in METHODS[regime]:
                _predict(run, language, method, regime, seed)
            run.progress.update(unit, done + 1, len(languages))


def _predict(run: RunContext, language: str, method: str, regime: str, seed: int | None) -> None:
    kinds = [kind for lang, kind in run.material.evaluation if lang == language]
    model = run.model
    if regime == "none":
        model = untrained_model(run.config, run.model.adapted.encoder)
        sets, phi = [run.material.baseline[language, kind] for kind in kinds], model.params()
    else:
        assert seed is not None
        sets = [run.material.evaluation[language, kind] for kind in kinds]
        phi = _phi(run, regime, method, seed, language)
    probabilities, tokens = predict(model, phi, sets, run.store)
    run.costs.add_passes("evaluate", tokens)
    for kind, data, p in zip(kinds, sets, probabilities, strict=True):
        _record(run, data, kind, method, regime, seed, p).write(run.folder.path / "predictions")


def _phi(run: RunContext, regime: str, method: str, seed: int, language: str) -> Params:
    """The parameters that answer in a language under a regime."""
    if regime == "zero-shot":
        return ctml_result(run, seed)[0]
    if regime == "zero-shot-aux":
        name = run.material.auxiliary_for[language].name
    elif regime == "few-shot":
        name = f"few-shot.{language}"
    elif method == ALONE:
        name = "pooled-alone"
    else:
        name = f"pooled.{language}" if run.config.clml.per_language else "pooled"
    return run.load_phi(f"{name}.seed{seed}")[0]


def _labels(run: RunContext, regime: str, seed: int | None, language: str) -> tuple[int, int]:
    """Labels used in the tested language, and in all languages but English together."""
    material = run.material
    if regime == "zero-shot-aux":
        used = material.auxiliary_for[language].auxiliary
        return 0, sum(len(material.auxiliary[name]) for name in used)
    if seed is None or regime not in WITH_SHOTS:
        return 0, 0
    k = len(material.shots[seed])
    return k, k * (len(material.shot_pool) if regime == "pooled-shots" else 1)


def _record(
    run: RunContext,
    data: TaskData,
    kind: str,
    method: str,
    regime: str,
    seed: int | None,
    probabilities: list[list[float]],
) -> Predictions:
    k, total = _labels(run, regime, seed, data.language)
    return Predictions(
        task=data.task,
        lang=data.language,
        split=run.config.evaluate.split,
        data=kind,
        regime=regime,
        method=method,
        seed=seed,
        k=k,
        total_labels=total,
        ids=data.ids,
        probabilities=probabilities,
        labels=data.questions.labels.tolist(),
    )
