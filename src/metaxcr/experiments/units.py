"""The units of work of a run, in order: what is finished is not done again, what was interrupted goes on."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from metaxcr.config import Config
from metaxcr.errors import UserError
from metaxcr.experiments.stages import (
    RunContext,
    clml,
    ctml,
    evaluate,
    few_shot,
    pooled,
    pooled_baseline,
)

Unit = tuple[str, Callable[[str], None]]  # name, and the work, which is told its name
SEVERAL = ("zero-shot-aux", "pooled-shots")  # regimes with labels in several languages


def regimes_of(config: Config) -> list[str]:
    """The regimes that a run covers: without auxiliary data there is no zero-shot-aux."""
    return [r for r in config.run.regimes if r != "zero-shot-aux" or config.target.auxiliary]


def check_regimes(config: Config) -> None:
    """Refuse settings that no regime of the run would use.

    Raises:
        UserError: There is one; the message names it.
    """
    regimes = set(regimes_of(config))
    for key, value, idle, needed in (
        ("clml.languages", config.clml.languages, "uniform", SEVERAL),
        ("clml.per_language", config.clml.per_language, False, SEVERAL),
        ("ctml.reward_data", config.ctml.reward_data, "english", ("few-shot",)),
    ):
        if value != idle and not regimes & set(needed):
            raise UserError(
                f"{key}: {value} would have no effect in the regimes {', '.join(sorted(regimes))}",
                "run.regimes",
                f"add {' or '.join(needed)}, or leave it at {idle}",
            )
    if "pooled-shots" in regimes and len(config.target.languages) < 2:
        raise UserError(
            "pooled-shots pools languages, and there is one", "target.languages", "name two or more"
        )


def units(run: RunContext, phases: Sequence[str]) -> Iterator[Unit]:
    """The units of work of some phases in order, with their names."""
    config, regimes = run.config, regimes_of(run.config)
    if "train" in phases:
        for seed in config.run.seeds:
            yield f"ctml seed {seed}", partial(ctml, run, seed=seed)
    if "adapt" in phases:
        for seed in config.run.seeds:
            yield from _adapt(run, regimes, seed)
    if "baseline" in phases:
        yield "evaluate similarity", partial(evaluate, run, regime="none", seed=None)
    if "evaluate" in phases:
        for seed in config.run.seeds:
            for regime in regimes:
                yield f"evaluate {regime} seed {seed}", partial(evaluate, run, regime=regime, seed=seed)


def _adapt(run: RunContext, regimes: Sequence[str], seed: int) -> Iterator[Unit]:
    config, languages = run.config, run.config.target.languages
    if "zero-shot-aux" in regimes:
        for one in run.material.adaptations:
            yield f"{one.name} seed {seed}", partial(clml, run, seed=seed, adaptation=one)
    for language in languages if "few-shot" in regimes else ():
        if config.ctml.reward_data == "shots":
            yield f"ctml {language} seed {seed}", partial(ctml, run, seed=seed, language=language)
        yield f"few-shot {language} seed {seed}", partial(few_shot, run, seed=seed, language=language)
    if "pooled-shots" in regimes:
        for alone in languages if config.clml.per_language else (None,):
            name = f"pooled {alone} seed {seed}" if alone else f"pooled seed {seed}"
            yield name, partial(pooled, run, seed=seed, language=alone)
        yield f"pooled-alone seed {seed}", partial(pooled_baseline, run, seed=seed)
