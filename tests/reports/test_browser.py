"""The reports in a real browser: desktop and phone, dark and light, on paper; no error, no request."""

import base64
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.browser import Browser, browser_path
from tests.reports.conftest import METHODS, made

from metaxcr.reports.pages import write_grid_report, write_report

WIDTHS = {"desktop": 1280, "phone": 390}
# Figures that take room on the page, and those among them that are wider than it.
FIGURES = """(() => {
  const seen = [...document.querySelectorAll('figure svg')].map(s => s.getBoundingClientRect())
    .filter(r => r.width > 100 && r.height > 40);
  const page = document.documentElement;
  return {figures: document.querySelectorAll('figure').length, seen: seen.length,
          outside: seen.filter(r => r.right > page.clientWidth + 1).length,
          scrolls: page.scrollWidth > page.clientWidth + 1,
          paper: getComputedStyle(document.body).backgroundColor};
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of this file; without one they are skipped, except where CI has one."""
    program = browser_path()
    if program is None:
        message = "no Chromium here (Debian: apt-get install chromium)"
        if os.environ.get("METAXCR_NEED_BROWSER"):
            pytest.fail(message)
        pytest.skip(message)
    with Browser(program, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def pages(full_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of a comparison and that of a run, each alone in a folder."""
    folder, found = tmp_path_factory.mktemp("comparison"), {}
    summary = made(METHODS, [0, 16], matrix=True)
    (folder / "compare.json").write_text(json.dumps(summary), encoding="utf-8")
    for name, page in (("grid", write_grid_report(folder)), ("run", write_report(full_run))):
        found[name] = tmp_path_factory.mktemp(name) / "report.html"
        shutil.copyfile(page, found[name])
    return found


def test_every_figure_is_seen_and_nothing_is_asked_for(browser: Browser, pages: dict[str, Path]) -> None:
    for name, least in (("grid", 5), ("run", 4)):
        for width in WIDTHS.values():
            browser.show(pages[name], width)
            found = browser.evaluate(FIGURES)
            assert found["seen"] == found["figures"] >= least, (name, width)
            assert found["outside"] == 0 and not found["scrolls"], (name, width)
            assert browser.complaints == [] and browser.requests == []


def test_dark_and_light_and_paper(browser: Browser, pages: dict[str, Path]) -> None:
    papers = {}
    for name, options in (
        ("light", {}),
        ("dark", {"dark": True}),
        ("print", {"dark": True, "media": "print"}),
    ):
        browser.show(pages["grid"], 1280, **options)
        papers[name] = browser.evaluate(FIGURES)["paper"]
    assert papers == {"light": "rgb(254, 254, 254)", "dark": "rgb(19, 23, 27)", "print": "rgb(255, 255, 255)"}
    printed = base64.b64decode(browser.call("Page.printToPDF")["data"])
    assert printed.startswith(b"%PDF") and len(printed) > 20_000


def test_the_browser_would_notice(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.error('oh'); nothing()</script>")
    browser.show(page, 1280)
    assert browser.requests == ["http://127.0.0.1:9/x.png"] and len(browser.complaints) >= 2
