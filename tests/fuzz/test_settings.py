"""Hostile settings: YAML in files, in ``--set``, in grids."""

from hypothesis import strategies as st

from metaxcr.config_io import load_config

from ..fuzzing import fuzz, only_user_errors

VALUES = [
    "2024-13-45",
    "9" * 5000,
    "!!int x",
    "!!bool x",
    "!!timestamp x",
    "[" * 3000,
    "- " * 3000,
    "!!float ''",
]


@fuzz(0.02, value=st.sampled_from(VALUES) | st.text(max_size=40))
def test_override(value: str) -> None:
    with only_user_errors():
        load_config("starter", [f"run.seeds={value}"])
