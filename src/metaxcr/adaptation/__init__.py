"""CTML, CLML and few-shot fine-tuning: what each stage draws its batches from."""

from metaxcr.adaptation.curricula import cross_lingual, cross_task
from metaxcr.adaptation.finetune import finetune

__all__ = ["cross_lingual", "cross_task", "finetune"]
