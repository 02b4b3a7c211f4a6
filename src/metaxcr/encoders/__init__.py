"""The frozen multilingual encoder: loading, layer-wise application, and the trunk's activation cache."""
