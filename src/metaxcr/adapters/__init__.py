"""Small trainable modules in the frozen encoder: the task adapter, and language adapters below it."""

from metaxcr.adapters import bottleneck, invertible, lora

__all__ = ["bottleneck", "invertible", "lora"]  # importing a module registers its kinds
