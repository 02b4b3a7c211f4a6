"""``metaxcr.toml``: where a project keeps its records."""

from pathlib import Path

import pytest

from metaxcr.cli.options import ProjectSettings, project_settings
from metaxcr.errors import UserError


def test_the_nearest_file_counts_and_paths_are_seen_from_it(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert project_settings(inner) == ProjectSettings(None, None)
    (tmp_path / "metaxcr.toml").write_text('cells = "kept/cells"\nledger = "kept/openings.jsonl"\n')
    assert project_settings(inner) == ProjectSettings(
        tmp_path / "kept/cells", tmp_path / "kept/openings.jsonl"
    )
    (tmp_path / "a" / "metaxcr.toml").write_text("")
    assert project_settings(inner) == ProjectSettings(None, None)


def test_the_working_directory_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "metaxcr.toml").write_text('ledger = "openings.jsonl"\n')
    monkeypatch.chdir(tmp_path)
    assert project_settings().ledger == tmp_path / "openings.jsonl"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cells", "not valid TOML"),
        ('cell = "x"', "unknown setting 'cell'.*use cells or ledger"),
        ("cells = 3", "'cells' is no path"),
        ('cells = ""', "'cells' is no path"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "metaxcr.toml").write_text(text)
    with pytest.raises(UserError, match=message):
        project_settings(tmp_path)
