"""Importing and exporting adapters, and the table of public language adapters."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from metaxcr.adapters.adapter_files import CONFIG, PICKLED, WEIGHTS
from metaxcr.adapters.import_export import (
    export_adapter,
    import_adapter,
    provenance,
    public_adapters,
)
from metaxcr.errors import UserError

XCOPA = {"et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh"}


def test_xlm_roberta_base_has_all_languages_of_xcopa() -> None:
    rows = public_adapters("FacebookAI/xlm-roberta-base")
    assert {row["language"] for row in rows} >= XCOPA | {"en"}
    assert {row["hub"] for row in rows} >= {"AdapterHub/xlm-roberta-base-sw-wiki_pfeiffer"}
    multilingual = {row["language"] for row in public_adapters("bert-base-multilingual-cased")}
    assert multilingual & (XCOPA | {"en"}) == {"en", "et", "ht", "qu", "sw", "zh"}


def test_rows_are_distinct_and_filtered() -> None:
    rows = public_adapters()
    assert len({row["hub"] for row in rows}) == len(rows)
    assert {row["language"] for row in public_adapters(language="sw")} == {"sw"}
    assert public_adapters("bert-base-uncased") == []
    assert "adapter-hub/Hub" in provenance()


REFERENCE = Path(__file__).parent / "reference" / "bert-madx"


@pytest.mark.parametrize("name", ["sw", "copa"])
def test_in_and_out_again_every_tensor_is_the_same(name: str, tmp_path: Path) -> None:
    file = import_adapter(str(REFERENCE / name), tmp_path / "in")
    assert file.config.shape.bottleneck == (8 if name == "sw" else 4)
    export_adapter(tmp_path / "in", tmp_path / "out", name="a.new")
    theirs, ours = load_file(REFERENCE / name / WEIGHTS), load_file(tmp_path / "out" / WEIGHTS)
    pickled = torch.load(tmp_path / "out" / PICKLED, weights_only=True)
    assert len(ours) == len(theirs)
    for key, tensor in theirs.items():
        renamed = key.replace(f".{name}.", ".a_new.")
        assert torch.equal(ours[renamed], tensor)
        assert torch.equal(pickled[renamed], tensor)
    assert json.loads((tmp_path / "out" / CONFIG).read_text())["name"] == "a_new"


@pytest.mark.parametrize("inside", ["", "sw/", "a/b/"])
def test_a_zip_is_read_without_unpacking_it(inside: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "sw.zip", "w") as archive:
        for name in (CONFIG, WEIGHTS):
            archive.write(REFERENCE / "sw" / name, f"{inside}{name}")
        archive.writestr("../evil.txt", "x")
        archive.writestr(f"../{WEIGHTS}", "x")
    import_adapter(str(tmp_path / "sw.zip"), tmp_path / "deep" / "in")
    assert (
        load_file(tmp_path / "deep" / "in" / WEIGHTS).keys() == load_file(REFERENCE / "sw" / WEIGHTS).keys()
    )
    assert not (tmp_path.parent / "evil.txt").exists()


@pytest.mark.parametrize("content", [b"no zip", None])
def test_an_archive_without_an_adapter_is_one_clear_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    if content is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "x")
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"has 0 files adapter_config\.json|cannot read the archive"):
        import_adapter(str(path), tmp_path / "in")
    assert not (tmp_path / "in").exists()


def test_a_truncated_archive_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (CONFIG, WEIGHTS):
            archive.write(REFERENCE / "sw" / name, name)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot read the archive"):
        import_adapter(str(path), tmp_path / "in")


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("xlm-roberta-base", r"width 16\) does not fit xlm-roberta-base \(width 768\)"),
        ("no-such-encoder-here", "no-such-encoder-here"),
    ],
)
def test_the_encoder_that_is_named_must_fit(encoder: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        import_adapter(str(REFERENCE / "sw"), tmp_path / "in", encoder=encoder)


def test_an_adapter_that_names_a_known_encoder_is_held_against_it(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE / "sw", tmp_path / "sw")
    config = json.loads((tmp_path / "sw" / CONFIG).read_text()) | {
        "model_name": "bert-base-multilingual-cased"
    }
    (tmp_path / "sw" / CONFIG).write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"does not fit bert-base-multilingual-cased \(width 768\)"):
        import_adapter(str(tmp_path / "sw"), tmp_path / "in")


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the folder exists"):
        import_adapter(str(REFERENCE / "sw"), tmp_path)
    with pytest.raises(UserError, match="the folder exists"):
        export_adapter(REFERENCE / "sw", tmp_path)


def test_the_hub_is_asked_for_the_adapters_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def snapshot(name: str, **options: object) -> str:
        asked.update(name=name, **options)
        return str(REFERENCE / "sw")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    import_adapter("AdapterHub/x", tmp_path / "in", revision="abc")
    assert asked == {"name": "AdapterHub/x", "revision": "abc", "allow_patterns": [CONFIG, WEIGHTS, PICKLED]}
    with pytest.raises(UserError, match="there is no folder 'nowhere'"):
        import_adapter("nowhere", tmp_path / "other")
