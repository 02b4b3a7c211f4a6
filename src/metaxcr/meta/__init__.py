"""Meta-learning over the adapter parameters: inner loop, learners, outer optimiser, all pure functions."""
