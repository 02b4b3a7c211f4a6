import io

import pytest
from rich.console import Console

from metaxcr.config.io import load_config
from metaxcr.runs.progress import Progress
from metaxcr.runs.run_data import RunData
from metaxcr.runs.run_summary import _announce_data
from metaxcr.training.batch_sampler import English


def said(english: English, changes: list[str], **data: object) -> str:
    log = io.StringIO()
    progress = Progress(Console(file=log, width=200))
    _announce_data(load_config("starter", changes), RunData(english, **data), progress)  # type: ignore[arg-type]
    return log.getvalue()


@pytest.mark.parametrize(
    ("alignment", "regimes", "told"),
    [(0.5, "few-shot", True), (0.5, "zero-shot", False), (0.0, "few-shot", False)],
)
def test_alignment_that_shots_do_not_use_is_not_dropped_silently(
    english: English, alignment: float, regimes: str, told: bool
) -> None:
    line = "clml.alignment is not used in few-shot"
    words = [f"clml.alignment={alignment}", f"run.regimes=[{regimes}]"]
    assert (line in said(english, words)) == told


def test_repairs_and_rows_left_out_are_counted(english: English) -> None:
    text = said(english, [], repaired={"b": 2, "a": 1}, skipped={"c": 1000})
    assert "repaired rows: a 1, b 2" in text
    assert "rows left out: c 1,000" in text


def test_wrong_labels_are_told(english: English) -> None:
    text = said(english, ["sources=[{task: starter_social, labels: flipped}]"])
    assert "LABELS WRONG ON PURPOSE: starter_social:flipped" in text
