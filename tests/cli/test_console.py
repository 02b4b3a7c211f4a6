"""What other people's files hold reaches the terminal as text, whatever command prints it."""

import io
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.table import Table
from rich.text import Text
from tests.cli.test_compare import SMALL

from metaxcr.cli import console as module
from metaxcr.cli.console import console, note, print_json, print_table, say, try_report
from metaxcr.data.registry import load
from metaxcr.errors import UserError
from metaxcr.runs.progress import Progress

ATTACKS = {
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J\x1b[H",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "one byte": "\x9b2J\x9d0;owned\x9c",
    "line over": "safe\r",
    "delete": "\x7f\x7f",
    "override": "\u202egpj\u202c",
    "isolate": "\u2067x\u2069",
    "line separator": "a\u2028b\x85c",
    "markup": "[red]red[/red] [link=https://example.org]here[/link] :smile:",
    "broken markup": "[/nothing]",
}
FORBIDDEN = {
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u2028\u2029\u202a\u202b\u202c\u202d\u202e",
}
FORBIDDEN = (FORBIDDEN | {*"\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}) - {"\n"}
ALL = " ".join(ATTACKS.values())
MARKUP = ATTACKS["markup"]


def clean(*outputs: str) -> None:
    for text in outputs:
        assert not FORBIDDEN & set(text), sorted(map(ascii, FORBIDDEN & set(text)))


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_nothing_that_is_printed_is_obeyed(attack, capsys):
    text = f"before {attack} after"
    say(text)
    note(text)
    print_table((text, f">{text}"), [(text, text)], title=text)
    print_json({text: text})
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    table.add_row(Text(text))
    console().print(table, text, Text(text))
    progress = Progress(console(stderr=True))
    progress.say(text)
    shown = capsys.readouterr()
    clean(shown.out, shown.err)
    assert "before" in shown.out and "before" in shown.err
    assert r"\x1b" in shown.out or "\x1b" not in attack


def test_markup_is_text(capsys):
    for text in (MARKUP, ATTACKS["broken markup"]):
        say(text)
        console().print(text)
        print_table((text,), [(text,)])
        assert capsys.readouterr().out.count(text) == 4


def test_other_scripts_are_left_as_they_are(capsys):
    text = "می\u200cخواهم שלום\u200f क्\u200dष 한국어 ไทย"
    say(text)
    print_table(("text",), [(text,)])
    print_json([text])
    assert capsys.readouterr().out.count(text) == 3


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_bar_on_a_terminal_shows_names_as_text(attack, monkeypatch):
    """Rich's own movements of the cursor are all that is left."""
    stream = io.StringIO()
    shown = module._console_type()(
        file=stream, force_terminal=True, color_system=None, width=200, markup=False, highlight=False
    )
    plain, attacked = "name", f"name{attack}"
    outputs = []
    for label in (plain, attacked):
        progress = Progress(shown)
        for step in (1, 2):
            progress.update(label, step, 2, label)
        progress.finish()
        outputs.append(stream.getvalue())
        stream.seek(0)
        stream.truncate()
    controls = [{c for c in text if c in FORBIDDEN} for text in outputs]
    assert controls[1] <= controls[0] | {"\r"}
    assert outputs[0].count("\x1b") == outputs[1].count("\x1b")


def rows(n: int = 40) -> str:
    found = [
        {"id": f"{i}{ALL}", "premise": f"Tukio {i}. {ALL}", "choice1": f"Moja {i}. {ALL}",
         "choice2": f"Mbili {i}.", "label": i % 2, f"spare{ALL}": f"{i}{ALL}"}
        for i in range(n)
    ]  # fmt: skip
    return "".join(json.dumps(row) + "\n" for row in found)


@pytest.fixture
def own_tasks(monkeypatch, tmp_path):
    monkeypatch.setenv("METAXCR_TASKS", str(tmp_path / "tasks"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    return tmp_path / "tasks"


def test_tasks_add_show_ls_check(call, own_tasks, tmp_path):
    text = rows()
    for character in ("\\u2028", "\\u0085"):  # whatever else comes of them in an id
        text = text.replace(character, " ")
    file = tmp_path / "test.sw.jsonl"
    file.write_text(text)
    words = ("--name", "mine", "--language", "sw", "--licence", ALL, "--citation", ALL)
    added = call("tasks", "add", file, *words)
    clean(added.out, added.err)
    assert added.status in (0, 2)
    clean(call("tasks", "add", file, *words, "--json").out)
    own_tasks.mkdir(exist_ok=True)
    plain = tmp_path / "data.jsonl"
    records = [json.loads(line) | {"id": str(n)} for n, line in enumerate(text.splitlines())]
    plain.write_text("".join(json.dumps(record) + "\n" for record in records))
    declared = {
        "id": "attack", "version": 1, "title": ALL, "group": "source", "languages": ["en"],
        "format": "jsonl", "fields": {"id": "{id}", "context": "premise", "choices": ["choice1", "choice2"],
        "label": "label"}, "splits": {"train": {"files": {"data": str(plain)}}}, "relation": "effect",
        "licence": ALL, "citation": ALL, "url": "https://example.org",
    }  # fmt: skip
    (own_tasks / "attack.yaml").write_text(yaml.safe_dump(declared))
    for words in (
        ("ls",),
        ("ls", "--json"),
        ("show", "attack"),
        ("show", "attack", "--json"),
        ("check", "attack"),
    ):
        done = call("tasks", *words)
        clean(done.out, done.err)
        assert done.status in (0, 2), (words, done.err)
    assert MARKUP in call("tasks", "show", "attack").out


@pytest.mark.parametrize("head", ALL.split(" ")[:8], ids=range(8))
def test_file_heads_in_messages(call, own_tasks, tmp_path, head):
    file = tmp_path / "data.sw.csv"
    file.write_text(f"{head},b{head}\n1,2\n", newline="")
    for words in (("tasks", "add", file, "--name", "mine", "--language", "sw"),
                  ("predict", tmp_path, file, "--language", "sw"),
                  ("adapt", file, "--language", "sw"), ("report", tmp_path / head.replace("/", "")),
                  (head,), ("tasks", "show", head), ("run", "starter", "--set", head),
                  ("--debug", "run", head)):  # fmt: skip
        done = call(*words)
        assert done.status == 2, words
        clean(done.out, done.err.replace("\t", ""))


def test_adapters_import(call, tmp_path):
    reference = Path(__file__).parents[1] / "adapters" / "reference" / "xlmr-madx" / "sw"
    copy = tmp_path / "adapter"
    copy.mkdir()
    for part in reference.iterdir():
        (copy / part.name).write_bytes(part.read_bytes())
    path = copy / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "model_name": f"x{ALL}"}))
    for words in ((), ("--json",)):
        done = call("adapters", "import", copy, "--out", tmp_path / f"in{len(words)}", *words)
        clean(done.out, done.err)
        assert done.status == 0, done.err


def test_compare_dry_run(call, tmp_path, toy_command):
    methods = json.dumps({f"plain{ALL}": {"about": ALL}})
    baseline = json.dumps(f"plain{ALL}")
    done = call(
        *("compare", "starter", "--set", f"methods={methods}", "--set", f"title={json.dumps(ALL)}"),
        *("--set", f"baseline={baseline}", "--out", tmp_path / "out", "--dry-run"),
    )
    clean(done.out, done.err)
    assert done.status in (0, 2), done.err
    done = call("compare", "starter", "--set", f"title={json.dumps(ALL)}", "--out", tmp_path, "--dry-run")
    clean(done.out, done.err)
    assert done.status == 0 and MARKUP in done.out


def test_predict_and_its_ids(call, toy_run, toy_command, tmp_path):
    questions = tmp_path / "q.jsonl"
    name = "".join(value for key, value in ATTACKS.items() if key != "line separator")
    questions.write_text(json.dumps({"id": name, "premise": ALL, "choices": [ALL, "Nililala."]}) + "\n")
    done = call("predict", toy_run, questions, "--language", "sw", "--explain", "1")
    clean(done.out, done.err)
    if done.status == 0:
        assert json.loads(done.out)["id"] == name
    else:
        assert done.status == 2


def test_adapt_and_its_page(call, toy_run, toy_command, tmp_path):
    file = tmp_path / "mine.jsonl"
    examples = load("starter_target", "shots", language="sw").examples[:20]
    file.write_text("".join(
        json.dumps({"premise": f"{e.context} {MARKUP}\u202e\x1b[2J", "question": e.question,
                    "choices": [f"{c}\u2067\x9b2J" for c in e.choices], "label": e.label}) + "\n"
        for e in examples
    ))  # fmt: skip
    out = tmp_path / "model"
    done = call("adapt", file, "--language", "sw", "--start", toy_run, "--out", out)
    clean(done.out, done.err)
    assert done.status in (0, 2), done.err
    if done.status == 0:
        clean((out / "report.html").read_text(encoding="utf-8"))


def test_the_real_terminal_gets_no_foreign_sequence(tmp_path):
    """Under a pseudo-terminal, where rich draws bars and colours."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "metaxcr", "run", f"nowhere{ATTACKS['title']}{ATTACKS['clear']}"]
    done = subprocess.run(command, stdout=theirs, stderr=theirs, check=False, cwd=tmp_path)
    os.close(theirs)
    shown = os.read(ours, 10**5)
    os.close(ours)
    assert done.returncode == 2
    assert b"\x1b]0" not in shown and b"\x1b[2J" not in shown and rb"\x1b]0;owned" in shown


def test_an_error_is_printable_wherever_it_is_made():
    clean(str(UserError(ALL, ALL, ALL)))


def test_a_report_that_fails_is_one_line(capsys):
    def fails() -> str:
        raise ValueError("no room\nfor\x1b[2J bars")

    assert try_report(lambda: "page.html", "runs/x") == "page.html"
    assert try_report(fails, "runs/my x") == ""
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(r"no report: ValueError: no room for\x1b[2J bars; the results are complete")
    assert "'metaxcr report 'runs/my x'' repeats it" in said.err


@pytest.mark.parametrize(
    "broken", ["metaxcr.reports.pages._run_context", "metaxcr.evaluation.results.format_table"]
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_finished_run_is_not_lost_to_its_report(
    call, toy_command, toy_run, tmp_path, monkeypatch, broken, as_json
):
    folder = tmp_path / "run"
    shutil.copytree(toy_run, folder)
    (folder / "report.html").unlink()

    def fails(*_: object, **__: object) -> None:
        raise ValueError("axes of negative width")

    with monkeypatch.context() as patch:
        patch.setattr(broken, fails)
        done = call("evaluate", folder, "--quiet", *(["--json"] if as_json else []))
    assert done.status == 0, done.err
    shown = "report" if "report" in broken else "table"
    if shown == "report" or not as_json:
        assert f"no {shown}: ValueError: axes of negative width" in done.err
    assert (folder / "results.json").read_bytes() == (toy_run / "results.json").read_bytes()
    assert call("report", folder).status == 0 and (folder / "report.html").is_file()


def test_a_comparison_is_not_lost_to_its_report(call, toy_command, tmp_path, monkeypatch):
    def fails(*_: object) -> None:
        raise ValueError("axes of negative width")

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("metaxcr.reports.pages._grid_context", fails)
        patch.setattr("metaxcr.reports.grid_tables.grid_tables", fails)
        done = call("compare", "starter", *SMALL, "--out", out, "--quiet")
    assert done.status == 0, done.err
    assert "no report: " in done.err and "no table: " in done.err and (out / "compare.json").is_file()
    assert call("report", out).status == 0 and (out / "report.html").is_file()


def test_an_adapted_model_is_not_lost_to_its_report(call, toy_command, toy_run, tmp_path, monkeypatch):
    file, out = tmp_path / "mine.jsonl", tmp_path / "model"
    examples = load("starter_target", "shots", language="sw").examples[:20]
    rows = [
        {"premise": e.context, "question": e.question, "choices": list(e.choices), "label": e.label}
        for e in examples
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def fails(*_: object) -> None:
        raise ValueError("axes of negative width")

    with monkeypatch.context() as patch:
        patch.setattr("metaxcr.fewshot.adapt_run.systems_figure", fails)
        done = call("adapt", file, "--language", "sw", "--start", toy_run, "--out", out, "--quiet")
    assert done.status == 0, done.err
    assert "no report: " in done.err and not (out / "report.html").exists()
    assert call("report", out).status == 0 and "<svg" in (out / "report.html").read_text()
