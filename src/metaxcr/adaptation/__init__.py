"""CTML, CLML and fine-tuning on shots: what each stage draws its batches from."""

from metaxcr.adaptation.curricula import cross_lingual, cross_task
from metaxcr.adaptation.finetune import finetune

__all__ = ["cross_lingual", "cross_task", "finetune"]
