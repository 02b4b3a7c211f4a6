"""The thin shell: every shape of examples, and a complete account."""

from pathlib import Path

import pytest

from metaxcr.errors import UserError
from metaxcr.fewshot.adapt import Start
from metaxcr.fewshot.own import Own
from metaxcr.fewshot.run import adapt_own, as_own
from metaxcr.fewshot.settings import Settings
from metaxcr.scoring.build import save_phi


def test_every_shape_of_examples(own: Own, tmp_path: Path) -> None:
    assert as_own(own, None) is own
    given = [{"context": "a", "choices": ["b", "c"], "label": 0}]
    assert as_own(given, "sw").examples[0].label == 0
    with pytest.raises(UserError, match="language"):
        as_own(given, None)


def test_the_account_says_how_it_was_made(own: Own, start: Start, tmp_path: Path) -> None:
    save_phi(tmp_path / "o/adapters/meta", "meta", start.phi, start.config, start.model.adapted.encoder)
    account = adapt_own(
        own, "own", start, tmp_path / "o", tmp_path / "new", Settings(steps=1, repeats=1),
        force=False, progress=lambda label, done, total: None, command="metaxcr adapt own.csv",
    )  # fmt: skip
    assert account["command"] == "metaxcr adapt own.csv"
    assert account["environment"]["dtype"] == "float32" and account["environment"]["seconds"] > 0
    assert account["settings"]["steps"] == 1
