"""The frozen multilingual encoder: loading, layer-wise application, and caching."""
