"""The frozen multilingual encoder: loading, layer-wise application, and the cache of the trunk's activations."""
