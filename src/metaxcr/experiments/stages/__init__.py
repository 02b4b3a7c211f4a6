"""The units of work of a run, one stage a file: CTML, CLML, what the shots teach, evaluation."""

from metaxcr.experiments.stages.clml import clml
from metaxcr.experiments.stages.context import RunContext
from metaxcr.experiments.stages.ctml import ctml
from metaxcr.experiments.stages.evaluate import evaluate
from metaxcr.experiments.stages.shots import few_shot, pooled, pooled_baseline

__all__ = ["RunContext", "clml", "ctml", "evaluate", "few_shot", "pooled", "pooled_baseline"]
