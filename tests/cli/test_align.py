"""``adapters align``: the table, the files, and what is wrong."""

import json
from pathlib import Path

import pytest

from metaxcr.cli import main
from metaxcr.data.corpora import corpus_spec
from metaxcr.encoders.encoder import FrozenEncoder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "flores200" / "devtest"
    folder.mkdir(parents=True)
    lines = [f"word{n} other{n % 3}" for n in range(12)]
    for code in ("en", "sw", "qu"):
        text = lines if code != "qu" else [*lines[1:], lines[0]]
        (folder / f"{corpus_spec('flores200').languages[code]}.devtest").write_text(
            "\n".join(text), encoding="utf-8"
        )
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def toy(toy_encoder: FrozenEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaxcr.encoders.loading.load_encoder", lambda *args, **named: toy_encoder)


def test_table_files_and_who_is_weak(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["adapters", "align", "--languages", "sw,qu", "--data", str(root), "--quiet"]
    assert main([*words, "--out", str(tmp_path / "o")]) == 0
    shown = capsys.readouterr()
    assert "qu (encoder): too weak to transfer: only 0 %" in shown.out and "sw (encoder)" not in shown.out
    saved = json.loads((tmp_path / "o" / "alignment.json").read_text(encoding="utf-8"))
    assert (tmp_path / "o" / "alignment.png").exists() and len(saved["rows"]) == 8
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == saved


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--adapter", "sw"], "'sw' is no CODE=DIR"),
        (["--adapter", "sw=nowhere"], "nowhere"),
        (["--languages", "xx"], "no language 'xx'"),
        (["nowhere"], "nowhere"),
        (["run", "--encoder", "embedded"], "RUN brings its own"),
    ],
)
def test_bad_words(words: list[str], message: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapters", "align", *words, "--data", str(root)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
