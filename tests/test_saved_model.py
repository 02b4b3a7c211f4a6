import json
import shutil
from pathlib import Path

import pytest
import yaml

from metaxcr.errors import UserError
from metaxcr.saved_model import EMBEDDED_MODEL, find_model, read_adaptation, read_settings, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    shutil.copytree(EMBEDDED_MODEL, tmp_path / "model")
    return tmp_path / "model"


def test_the_model_in_the_package_is_one() -> None:
    assert find_model(EMBEDDED_MODEL) == EMBEDDED_MODEL
    assert read_settings(EMBEDDED_MODEL).encoder.name == "embedded"
    assert read_adaptation(EMBEDDED_MODEL) is None


@pytest.mark.parametrize(
    ("gone", "message"), [("config.yaml", "not a run folder"), ("adapters/meta", "nothing is trained yet")]
)
def test_what_is_missing_is_named(model: Path, gone: str, message: str) -> None:
    path = model / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=message):
        find_model(model)


def test_a_copy_has_its_language_adapters_beside_it_and_a_card(model: Path, tmp_path: Path) -> None:
    language = tmp_path / "madx-sw"
    language.mkdir()
    (language / "adapter_config.json").write_text("{}")
    config = read_settings(model)
    adapters = config.adapters.model_copy(update={"language": {"sw": str(language)}})
    config = config.model_copy(update={"adapters": adapters})
    (model / "environment.json").write_text(json.dumps({"command": "metaxcr run", "processor": "secret"}))

    write_model(config, model, tmp_path / "copy", ["en", "sw"])

    copy = find_model(tmp_path / "copy")
    written = yaml.safe_load((copy / "config.yaml").read_text())
    assert written["adapters"]["language"] == {"sw": "adapters/lang.sw"}
    assert read_settings(copy).adapters.language == {"sw": str(copy / "adapters/lang.sw")}
    assert json.loads((copy / "environment.json").read_text()) == {"command": "metaxcr run"}
    assert "sw" in (copy / "README.md").read_text()
    for file in (model / "adapters/meta").iterdir():
        assert (copy / "adapters/meta" / file.name).read_bytes() == file.read_bytes()


def test_a_missing_language_adapter_is_one_line(model: Path, tmp_path: Path) -> None:
    config = read_settings(model)
    adapters = config.adapters.model_copy(update={"language": {"sw": str(tmp_path / "none")}})
    with pytest.raises(UserError, match="none"):
        write_model(config.model_copy(update={"adapters": adapters}), model, tmp_path / "copy", ["en"])


@pytest.mark.parametrize(
    "summary",
    [
        {},
        {"language": "sw"},
        {"language": "sw", "calibration": {"temperature": "hot"}},
        {"language": "sw", "calibration": {"temperature": -1}},
        {"language": 3, "calibration": {"temperature": 1}},
    ],
)
def test_a_damaged_record_of_an_adaptation_is_one_line(model: Path, summary: dict[str, object]) -> None:
    (model / "adaptation.json").write_text(json.dumps(summary))
    with pytest.raises(UserError, match="the record of the adaptation is damaged"):
        read_adaptation(model)
