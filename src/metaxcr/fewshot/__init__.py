"""Few-shot adaptation to a user's own examples, with cross-validated results."""
