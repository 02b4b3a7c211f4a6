"""Every layout of ``layouts`` through the three commands that read a user's file."""

import shlex

import pytest
from tests.data.infer.layouts import LAYOUTS, items, lines, pairs, table

from metaxcr.cli.options import column_hints
from metaxcr.data.infer.user_files import local_sources
from metaxcr.data.infer.user_questions import read_questions
from metaxcr.data.infer.user_task import user_task
from metaxcr.data.languages import language_tag
from metaxcr.data.registry import load
from metaxcr.errors import UserError
from metaxcr.fewshot.user_examples import read_user_examples

UNDERSTOOD = [layout for layout in LAYOUTS if layout.refused is None]
REFUSED = [layout for layout in LAYOUTS if layout.refused is not None]
OPTIONS = {"--map": "mapping", "--where": "where", "--columns": "columns", "--labels": "labels",
           "--relation": "relation"}  # fmt: skip


def named(layouts):
    return pytest.mark.parametrize("layout", layouts, ids=[layout.name for layout in layouts])


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("METAXCR_TASKS", str(tmp_path / "tasks"))
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def hints(words):
    """Read options as the commands do."""
    given = {}
    words = iter(words)
    for word in words:
        if word == "--skip-bad":
            given["skip_bad"] = True
        elif word in ("--map", "--where"):
            given.setdefault(OPTIONS[word], []).append(next(words))
        else:
            given[OPTIONS[word]] = next(words)
    return column_hints(**given)


def written(layout, tmp_path):
    file = tmp_path / layout.file
    content = layout.content if isinstance(layout.content, bytes) else layout.content.encode()
    file.write_bytes(content)
    return file


def added(file, layout, *options):
    asked = hints([*layout.options, *options])
    sources = local_sources([file], columns=asked.columns)
    return user_task("mine", language_tag(layout.language), sources, asked)


def check(examples, layout):
    assert [e.context for e in examples] == [layout.context(i) for i in layout.items]
    assert [e.question for e in examples] == [layout.question(i) for i in layout.items]
    ordered = sorted if layout.shuffled else list
    assert [ordered(e.choices) for e in examples] == [ordered(i.choices) for i in layout.items]
    if layout.labelled:
        assert [e.choices[e.label] for e in examples] == [i.right for i in layout.items]
    else:
        assert {e.label for e in examples} == {None}


@named(UNDERSTOOD)
def test_tasks_add(layout, tmp_path):
    own = added(written(layout, tmp_path), layout)
    check([e for reading in own.readings for e in reading.examples], layout)
    notes = "\n".join([*own.notes, *(word for one in own.guesses for word in one.reasons.values())])
    assert all(word in notes for word in layout.told), notes
    if "warning" not in layout.told:
        assert not [line for line in own.notes if line.startswith("warning")]
    own.write()  # what is declared reads as what was shown
    again = [e for split in own.spec.splits for e in load("mine", split, language=own.language).examples]
    assert again == [e for reading in own.readings for e in reading.examples]


@named([layout for layout in UNDERSTOOD if layout.labelled and layout.name != "one object with splits"])
def test_adapt(layout, tmp_path):
    own = read_user_examples(written(layout, tmp_path), layout.language, hints=hints(layout.options))
    check(own.examples, layout)
    assert any("warning" in layout.told for _ in own.notes) or "warning" not in layout.told


@named([layout for layout in UNDERSTOOD if layout.name != "one object with splits"])
def test_predict(layout, tmp_path):
    told = []
    asked = hints(layout.options) if layout.options else None
    found = list(read_questions(written(layout, tmp_path), layout.language, asked, warn=told.append))
    kept = layout.items
    if "--skip-bad" in layout.options:  # a label that cannot be read does not matter here
        kept = pairs(60)
    expected = [(layout.context(i) or layout.question(i)) for i in kept]
    assert [q.context for q in found] == expected
    ordered = sorted if layout.shuffled else list
    assert [ordered(q.choices) for q in found] == [ordered(i.choices) for i in kept]
    assert bool(told) == bool(layout.told)


@named(REFUSED)
def test_what_is_refused(layout, tmp_path):
    with pytest.raises(UserError) as caught:
        added(written(layout, tmp_path), layout)
    assert layout.refused in str(caught.value)
    assert "\n" not in str(caught.value)
    options = proposed(str(caught.value))
    if options and layout.items:  # what is proposed works
        again = added(tmp_path / layout.file, layout, *options)
        if "--skip-bad" not in options and "--where" not in options:
            check(again.readings[0].examples, layout)


def proposed(message):
    """Take the first options that a message proposes, as a user would paste them."""
    at = message.find(" --")
    words = shlex.split(message[at:]) if at >= 0 else []
    taken = []
    while words and words[0].startswith("--"):
        taken += [word.rstrip(",;") for word in words[: 1 + (words[0] != "--skip-bad")]]
        stop = words[1][-1:] in ",;" if len(words) > 1 else True
        words = [] if stop else words[2:]
    return taken


@pytest.mark.parametrize(
    "names",
    [
        ("rin", "left", "right", "wahr"), ("said so", "first one", "other", "it's so"), ("α", "β", "γ", "δ"),
        ("f(x)", "$a", "$b", "c#"), ("x.y", "x.z", "x.w", "x.v"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "spell", [lambda i: i.label, lambda i: "AB"[i.label], lambda i: i.right, lambda i: i.label + 1]
)
def test_proposals_for_unknown_names_work_when_pasted(tmp_path, names, spell):
    rows = [dict(zip(names, (i.passage, *i.choices, spell(i)), strict=True)) for i in pairs()]
    (tmp_path / "q.csv").write_text(table(rows))
    layout = UNDERSTOOD[0].__class__("", "q.csv", "", pairs(), question=lambda i: "")
    words = []
    for _ in range(3):
        try:
            own = added(tmp_path / "q.csv", layout, *words)
            break
        except UserError as error:
            new = proposed(str(error))
            assert new, error
            words += new
    check(own.readings[0].examples, layout)
    assert len(words) <= 8


def test_the_order_of_right_and_wrong_answers_says_nothing_and_stays(tmp_path):
    many = items(400)
    rows = [{"id": i.n, "question": i.question, "correct": i.right, "distractors": i.wrong} for i in many]
    (tmp_path / "q.jsonl").write_text(lines(rows))
    (tmp_path / "train.jsonl").write_text(lines(rows))
    one, two = (read_user_examples(tmp_path / name, "en").examples for name in ("q.jsonl", "train.jsonl"))
    assert [(e.choices, e.label) for e in one] == [(e.choices, e.label) for e in two]
    counts = [sum(e.label == k for e in one) for k in range(4)]
    assert all(70 < count < 130 for count in counts)
    rows.reverse()  # the order belongs to the item
    (tmp_path / "q.jsonl").write_text(lines(rows))
    again = read_user_examples(tmp_path / "q.jsonl", "en").examples
    assert {e.id: e.choices for e in again} == {e.id: e.choices for e in one}
