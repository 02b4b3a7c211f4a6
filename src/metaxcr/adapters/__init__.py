"""Small trainable modules in the frozen encoder: the task adapter, and language adapters below it."""

from metaxcr.adapters import bottleneck, lora

__all__ = ["bottleneck", "lora"]  # importing a module registers its kinds
