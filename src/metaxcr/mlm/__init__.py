"""Language adapters by masked-language modelling: text, packing, masking, the head and the training loop."""
