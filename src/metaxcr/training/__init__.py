"""Training: episodes and batches, the meta-training loop, and fine-tuning."""
