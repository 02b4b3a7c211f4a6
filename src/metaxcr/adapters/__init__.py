"""Small trainable modules in the frozen encoder: the task adapter, and language adapters below it."""

from metaxcr.adapters.bottleneck import Bottleneck
from metaxcr.adapters.stack import AdaptedEncoder

__all__ = ["AdaptedEncoder", "Bottleneck"]
