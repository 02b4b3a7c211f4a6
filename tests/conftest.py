"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with the real data sets; without it the test is skipped, except in CI, where that is a failure."""
    value = os.environ.get("METAXCR_DATA")
    if value and Path(value).is_dir():
        return Path(value)
    message = "no data root: set METAXCR_DATA to a folder with the official files"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
