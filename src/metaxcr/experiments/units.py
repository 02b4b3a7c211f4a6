"""The units of work of a run, in order: what is finished is not done again, what was interrupted goes on."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from metaxcr.experiments.stages import RunContext, clml, ctml, evaluate, few_shot

Unit = tuple[str, Callable[[str], None]]  # name, and the work, which is told its name


def units(context: RunContext, phases: Sequence[str]) -> Iterator[Unit]:
    """The units of work in order. A finished one is not done again, an interrupted one goes on."""
    config = context.config
    seeds, regimes = config.run.seeds, list(config.run.regimes)
    if not config.target.auxiliary and "zero-shot-aux" in regimes:
        regimes.remove("zero-shot-aux")
    if "train" in phases:
        for seed in seeds:
            yield f"ctml seed {seed}", partial(ctml, context, seed=seed)
    if "adapt" in phases:
        for seed in seeds:
            if "zero-shot-aux" in regimes:
                yield f"clml seed {seed}", partial(clml, context, seed=seed)
            for language in config.target.languages if "few-shot" in regimes else ():
                yield (
                    f"few-shot {language} seed {seed}",
                    partial(few_shot, context, seed=seed, language=language),
                )
    if "evaluate" in phases:
        yield "evaluate similarity", partial(evaluate, context, regime="none", seed=None)
        for seed in seeds:
            for regime in regimes:
                yield f"evaluate {regime} seed {seed}", partial(evaluate, context, regime=regime, seed=seed)
