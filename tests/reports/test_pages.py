"""Pages of runs and comparisons: whole, self-contained, escaped, and honest about what is missing."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from metaxcr.config.io import load_config
from metaxcr.errors import UserError
from metaxcr.reports.pages import GRID_FIGURES, export, render, tasks_of, write_grid_report, write_report
from metaxcr.reports.tables import licences

Build = Callable[..., Path]
CITATION = "https://arxiv.org/abs/2503.06531"


class Page(HTMLParser):
    """Collects tags, attributes and visible text; fails on tags that are not closed in order."""

    VOID = ("meta", "link", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)

    @property
    def sections(self):
        return [attrs["id"] for tag, attrs in self.tags if tag == "section" and attrs.get("id")]

    @property
    def loads(self):
        """Everything that could load something."""
        items = [(tag, *item) for tag, attrs in self.tags for item in attrs.items()]
        return [v for tag, k, v in items if k == "src" or (k == "href" and tag not in ("a", "use"))]


def page_of(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(full_run):
    return page_of(full_run)


def test_headline_numbers_are_those_of_the_results(full_run, page):
    results = json.loads((full_run / "results.json").read_text())
    for item in results["averages"]:
        if item["data"] == "repaired":
            low, high = item["ci95"]
            assert f"{100 * item['mean']:.1f} %" in page.text
            assert f"95 % interval {100 * low:.1f} to {100 * high:.1f}" in page.text
    for item in results["differences"]:
        if item["data"] == "repaired" and item["b"] == "similarity":
            assert f"{100 * item['mean']:+.2f} points".replace("-", "\N{MINUS SIGN}") in page.text


def test_all_parts_are_there(page):
    for heading in (
        "Accuracy per language", "Averages over languages", "Paired differences", "Raw and repaired data",
        "Outside the averages", "What the sampler chose", "Learning curves", "Costs", "How it was run",
        "Words", "Every row",
    ):  # fmt: skip
        assert heading in page.text
    assert page.count("svg") == 2 * 4  # four figures, each for desktop and phone
    assert "What is missing" not in page.text and "demonstration" not in page.text
    assert "metaxcr run configs/xcopa-embedded.yaml" in page.text
    assert "3f9c0a" in page.text and "77b1de" in page.text and "Example CPU" in page.text


def test_nothing_is_fetched(full_run, page):
    text = (full_run / "report.html").read_text(encoding="utf-8")
    links = [
        value for _, attrs in page.tags for key, value in attrs.items() if key in ("src", "href", "srcset")
    ]
    followed = {attrs.get("href") for tag, attrs in page.tags if tag == "a"}  # by the reader, if at all
    assert {link for link in links if link and not link.startswith(("#", "data:,"))} == followed
    assert CITATION in followed
    assert {tag for tag, _ in page.tags} & {"script", "img", "iframe", "object", "embed"} == set()
    assert not re.search(r"@import|url\((?!#)", text)
    assert set(re.findall(r"https?://[^\s\"<)]+", text)) == followed - {None}


def test_ids_are_unique_and_references_resolve(full_run):
    text = (full_run / "report.html").read_text(encoding="utf-8")
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)


def test_both_schemes_and_phone_width(full_run):
    text = (full_run / "report.html").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text
    variables = set(re.findall(r"var\((--[a-z0-9-]+)\)", text))
    light, dark = (
        set(re.findall(r"(--[a-z0-9-]+):", part)) for part in text.split("prefers-color-scheme: dark")[:2]
    )
    assert variables - {"--tint"} <= light and variables - {"--tint"} <= dark


def test_same_bytes_twice_and_wherever_the_folder_lies(full_run, make_run):
    first = write_report(full_run).read_bytes()
    assert write_report(full_run).read_bytes() == first
    assert write_report(make_run("elsewhere")).read_bytes() == first


def test_starter_target_is_headed_as_a_demonstration(make_run):
    page = page_of(make_run(task="starter_target", steps=10, n=30, raw=False))
    assert page.text.count("demonstration, not a benchmark") == 3  # the citation of the data says so, too


@pytest.mark.parametrize(
    "name", ["config.yaml", "environment.json", "events.jsonl", "costs.json", "results.json"]
)
def test_one_missing_file_is_named_and_the_rest_is_shown(make_run, name):
    page = page_of(make_run(steps=10, n=30, raw=False, omit=(name,)))
    assert f"{name} is missing" in page.text
    shown = {
        "Averages over languages": "results.json",
        "Learning curves": "events.jsonl",
        "whole run": "costs.json",
        "Example CPU": "environment.json",
        "All settings": "config.yaml",
    }
    for text, source in shown.items():
        assert (text in page.text) == (source != name), text


def test_missing_stages_are_named(make_run):
    folder = make_run(steps=10, omit=("results.json",))
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    for event in events:
        event.pop("probabilities", None)
    kept = [json.dumps(event) for event in events if event["stage"] == "ctml"]
    (folder / "events.jsonl").write_text("\n".join(kept))
    page = page_of(folder)
    assert "No events of the stage clml" in page.text and "No events of the stage finetune" in page.text
    assert "no sampler probabilities" in page.text
    assert "What the sampler chose" in page.text  # how often each source was drawn is still known


def test_names_are_escaped(make_run):
    folder = make_run(steps=10, n=30, raw=False)
    (folder / "config.yaml").write_text("run: {name: '<script>alert(1)</script>'}\ntarget: {task: xcopa}\n")
    page = page_of(folder)
    assert page.count("script") == 0 and "<script>alert(1)</script>" in page.text


def test_only_the_environment_is_enough(tmp_path):
    (tmp_path / "environment.json").write_text("{}")
    page = page_of(tmp_path)
    assert "results.json is missing" in page.text and page.count("svg") == 0


def test_no_run_folder(tmp_path):
    with pytest.raises(UserError):
        write_report(tmp_path / "absent")


def test_no_temporary_file_stays(full_run):
    write_report(full_run)
    assert not list(full_run.glob(".report*"))


def test_alignment_is_shown_where_it_was_measured(make_run):
    folder = make_run(steps=10, n=30, raw=False)
    assert "Alignment of the languages" not in page_of(folder).text
    rows = [
        {"language": code, "stack": stack, "layer": layer, "retrieval": 0.2 + 0.1 * layer, "ci95": [0.1, 0.9]}
        for code in ("sw", "th") for stack in ("encoder", "task") for layer in range(3)
    ]  # fmt: skip
    (folder / "alignment.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
    before, page = page_of(make_run("other", steps=10, n=30, raw=False)), page_of(folder)
    assert "Alignment of the languages" in page.text
    assert page.count("svg") == before.count("svg") + 2


def test_licences_of_the_data_are_listed(page):
    assert "Data and licences" in page.text and "Ponti" in page.text


@pytest.mark.parametrize("attack", ["\u202egpj.exe", "\u2067x", "\x1b[2J", "\x9b2J", "a\u2028b"])
def test_nothing_in_a_page_is_obeyed(make_run, attack):
    """A bidirectional override would go on after the text that it stands in, and turn the page around."""
    folder = make_run(task=f"copa{attack}", sources=(f"social{attack}", "b"), steps=10, n=30, raw=False)
    text = write_report(folder).read_text(encoding="utf-8")
    assert not set(attack) & set("\u202e\u2067\x1b\x9b\u2028") & set(text)
    assert "\\" in text and "copa" in text and "social" in text


def test_a_forgotten_name_is_an_error():
    with pytest.raises(UndefinedError):
        render({"target": "xcopa"})


def test_every_task_of_a_run_is_listed_once() -> None:
    config = load_config("xcopa-embedded").model_dump(mode="json")
    rows = licences(tasks_of(config))
    names = [row["task"] for row in rows]
    assert names[:2] == ["xcopa", "copa"] and {"ecare", "socialiqa", "xstorycloze"} <= set(names)
    assert len(names) == len(set(names))
    assert all(row["licence"] and row["citation"] and row["url"] for row in rows)


def test_no_settings_name_no_tasks() -> None:
    assert tasks_of({}) == [] and tasks_of({"target": "xcopa"}) == []


def test_every_figure_is_there_at_both_widths_and_nothing_is_loaded(comparison: Build) -> None:
    text = write_grid_report(comparison()).read_text(encoding="utf-8")
    page = Page(text)
    assert page.sections == list(GRID_FIGURES) and page.count("svg") == 2 * len(GRID_FIGURES)
    assert page.loads == ["data:,"] and page.count("script") == 0
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


def test_a_comparison_gives_the_same_bytes_again(comparison: Build) -> None:
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


def test_a_comparison_and_a_run(comparison, full_run: Path, tmp_path: Path) -> None:
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
