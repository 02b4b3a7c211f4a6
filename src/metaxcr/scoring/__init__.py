"""From encoded contexts and choices to plausibilities."""

from metaxcr.scoring.batch import Batch, Parallel, Questions, TaskData, encode_task, make_batch
from metaxcr.scoring.loss import choice_loss, contrastive_loss, in_batch_loss
from metaxcr.scoring.model import ChoiceModel, Params

__all__ = [
    "Batch",
    "ChoiceModel",
    "Parallel",
    "Params",
    "Questions",
    "TaskData",
    "choice_loss",
    "contrastive_loss",
    "encode_task",
    "in_batch_loss",
    "make_batch",
]
