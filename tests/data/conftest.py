"""Fixtures of the task tests: declarations made up on the spot, and examples without a file."""

from collections.abc import Callable
from typing import Any

import pytest

from metaxcr.data.example import Example
from metaxcr.data.spec import TaskSpec

BASE: dict[str, Any] = {
    "id": "toy",
    "version": 1,
    "title": "Toy",
    "group": "source",
    "languages": ["en"],
    "format": "jsonl",
    "fields": {"id": "{id}", "context": "premise", "choices": ["a", "b"], "label": "label"},
    "splits": {"train": {"files": {"data": "toy/{language}.jsonl"}}},
    "relation": "effect",
    "licence": "none",
    "citation": "nobody (2026)",
    "url": "https://example.org",
}


@pytest.fixture
def make_spec() -> Callable[..., TaskSpec]:
    """Declare a task: keyword arguments replace keys of a small declaration that works."""
    return lambda **changes: TaskSpec.model_validate({**BASE, **changes})


@pytest.fixture
def make_example() -> Callable[..., Example]:
    """Make an example: keyword arguments replace fields of a small one."""

    def make(**changes: Any) -> Example:
        fields: dict[str, Any] = {
            "id": "1",
            "context": "The glass fell.",
            "question": "effect",
            "choices": ("It broke.", "It sang."),
            "label": 0,
            "language": "en",
            "task": "toy",
        }
        return Example(**{**fields, **changes})

    return make
