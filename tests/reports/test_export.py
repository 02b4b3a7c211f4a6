"""Figures and tables as files: SVG and PDF, CSV and LaTeX that are what they say."""

import csv
import io
from pathlib import Path

import pytest
from tests.reports.conftest import comparison  # noqa: F401  (a fixture)

from metaxcr.errors import UserError
from metaxcr.reports.export import as_csv, as_latex, export
from metaxcr.reports.grid_tables import Named

TABLE = Named("t", "Title", ("method", "a − b, %"), [("x_y & z", "−1.50"), ("“{#}”", "2 < 3")], (1,))


def test_csv_is_read_back_with_numbers_as_computers_write_them() -> None:
    rows = list(csv.reader(io.StringIO(as_csv(TABLE))))
    assert rows == [["method", "a − b, %"], ["x_y & z", "-1.50"], ["“{#}”", "2 < 3"]]


def test_latex_is_escaped_and_aligned() -> None:
    lines = as_latex(TABLE).splitlines()
    assert lines[1] == r"\begin{tabular}{lr}" and lines[-1] == r"\end{tabular}"
    assert lines[3] == r"method & a $-$ b, \% \\"
    assert lines[5:7] == [r"x\_y \& z & $-$1.50 \\", r"``\{\#\}'' & 2 \textless{} 3 \\"]


def test_a_comparison_and_a_run(comparison, full_run: Path, tmp_path: Path) -> None:  # noqa: F811
    for folder, figures in (
        (comparison(), {"forest", "languages", "shots", "matrix", "costs"}),
        (full_run, {"accuracy", "sampler", "learning", "costs"}),
    ):
        out = tmp_path / folder.name
        written = export(folder, out)
        assert {p.stem for p in written if p.suffix == ".svg"} == figures
        assert {p.stem for p in written if p.suffix == ".csv"} >= {"averages", "differences", "languages"}
        for path in written:
            start = {".svg": b"<?xml", ".pdf": b"%PDF", ".tex": b"% "}.get(path.suffix, b"")
            assert path.read_bytes().startswith(start) and path.stat().st_size > 40
        before = {path: path.read_bytes() for path in written}
        assert {path: path.read_bytes() for path in export(folder, out)} == before


def test_nothing_to_show(tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text("{}")
    with pytest.raises(UserError, match="nothing to show"):
        export(tmp_path, tmp_path / "out")
