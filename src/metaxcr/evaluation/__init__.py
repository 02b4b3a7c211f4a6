"""What a run achieved: predictions, their accuracy, and how far it can be trusted."""
