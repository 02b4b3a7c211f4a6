"""The frozen multilingual encoder: loading, layer-wise application, and the trunk's activation cache."""

from metaxcr.encoders.base import Context, FrozenEncoder, Ragged, Text
from metaxcr.encoders.load import load_encoder
from metaxcr.encoders.pretrained import load_mlm_head
from metaxcr.encoders.trunk import TrunkStore

__all__ = ["Context", "FrozenEncoder", "Ragged", "Text", "TrunkStore", "load_encoder", "load_mlm_head"]
