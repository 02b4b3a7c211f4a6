"""Fixtures of the training tests, for the stages that are made of them."""

from tests.training.conftest import auxiliary, batches, english, origin, shots  # noqa: F401
