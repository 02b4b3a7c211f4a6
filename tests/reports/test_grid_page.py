"""The page of a comparison: whole, self-contained, escaped, and honest about what is missing."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from metaxcr.errors import UserError
from metaxcr.reports.grid_page import FIGURES, write_grid_report

Build = Callable[..., Path]


class Page(HTMLParser):
    """Headings, figures and everything that could load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.svgs, self.loads, self.scripts = 0, [], 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.svgs += tag == "svg"
        self.scripts += tag == "script"
        if tag == "section" and found.get("id"):
            self.sections.append(str(found["id"]))
        self.loads += [v for k, v in attrs if k == "src" or (k == "href" and tag not in ("a", "use"))]


def test_every_figure_is_there_at_both_widths_and_nothing_is_loaded(comparison: Build) -> None:
    text = write_grid_report(comparison()).read_text(encoding="utf-8")
    page = Page(text)
    assert page.sections == list(FIGURES) and page.svgs == 2 * len(FIGURES)
    assert page.loads == ["data:,"] and page.scripts == 0
    assert "Made &lt;up&gt; &amp; small" in text and "<up>" not in text
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_what_is_missing_comes_first_and_licences_are_named(comparison: Build) -> None:
    text = write_grid_report(comparison()).read_text(encoding="utf-8")
    assert text.index("the disk is full") < text.index("Accuracy over languages")
    assert "needs adapters.language" in text and "CC BY 4.0" in text and "Ponti et al." in text
    assert "metaxcr compare made" in text and "more than 16" in text and "incomplete" in text


def test_a_plain_grid_has_no_empty_sections(comparison: Build) -> None:
    text = write_grid_report(comparison(shots=[0], matrix=False)).read_text(encoding="utf-8")
    assert Page(text).sections == ["forest", "languages", "shots", "costs"] and "Transfer:" not in text


def test_the_same_input_gives_the_same_bytes(comparison: Build) -> None:
    folder = comparison()
    first = write_grid_report(folder).read_bytes()
    assert write_grid_report(folder).read_bytes() == first


@pytest.mark.parametrize("text", [None, "{", "[]", '{"schema": 9}'])
def test_no_comparison(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "compare.json").write_text(text)
    with pytest.raises(UserError, match=r"compare\.json"):
        write_grid_report(tmp_path)


@pytest.mark.parametrize("long", ["s" * 64, "a b " * 30, "\x1b[2J" * 9, "$x_1$" * 20])
def test_names_of_any_length_leave_room_for_what_is_drawn(comparison, long):
    folder = comparison(["similarity", "plain", *(f"{long}{n}" for n in range(7))])
    page = write_grid_report(folder).read_text(encoding="utf-8")
    assert page.count("<svg") == 2 * 5 and "\x1b" not in page
