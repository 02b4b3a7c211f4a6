"""Small trainable modules in the frozen encoder: the task adapter, and language adapters below it."""

from metaxcr.adapters import lora  # noqa: F401  (registers its kind)
from metaxcr.adapters.base import KINDS, LayerAdapter, Shape, build_layer
from metaxcr.adapters.bottleneck import Bottleneck
from metaxcr.adapters.invertible import Nice
from metaxcr.adapters.language import LanguageAdapter
from metaxcr.adapters.stack import AdaptedEncoder

__all__ = [
    "KINDS",
    "AdaptedEncoder",
    "Bottleneck",
    "LanguageAdapter",
    "LayerAdapter",
    "Nice",
    "Shape",
    "build_layer",
]
