"""Own examples, from files and from Python."""

from pathlib import Path

import pytest

from metaxcr.errors import UserError
from metaxcr.fewshot.user_examples import as_user_examples, examples_from_mappings, read_user_examples

HEAD = "premise,choice1,choice2,question,label\n"
ROWS = "p one,a,b,cause,0\np two,c,d,effect,1\np three,e,f,cause,1\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "own.csv").write_text(HEAD + ROWS)
    return tmp_path / "own.csv"


def test_a_file_is_read_as_tasks_add_reads_it(file: Path) -> None:
    own = read_user_examples(file, "sw")
    assert [e.label for e in own.examples] == [0, 1, 1] and own.language == "sw"
    assert [own.phrase(e).relation for e in own.examples] == ["cause", "effect", "cause"]
    assert own.place(1) == f"{file}:3"


def test_every_shape_of_examples(file: Path) -> None:
    read = read_user_examples(file, "sw")
    assert as_user_examples(read, None) is read
    assert as_user_examples(str(file), "sw").examples == read.examples
    given = [{"context": "a", "choices": ["b", "c"], "label": 0}]
    assert as_user_examples(given, "sw").examples[0].label == 0
    with pytest.raises(UserError, match="language"):
        as_user_examples(given, None)


def test_what_is_asked_can_be_said(file: Path) -> None:
    assert read_user_examples(file, "sw", "cause-effect").examples == read_user_examples(file, "sw").examples
    for asked, relation in (("cause", "cause"), ("effect", "effect"), ("plain", "answer")):
        own = read_user_examples(file, "sw", asked)  # type: ignore[arg-type]
        assert {own.phrase(e).relation for e in own.examples} == {relation}


def test_cause_and_effect_have_to_be_there(tmp_path: Path) -> None:
    path = tmp_path / "plain.csv"
    path.write_text("context,question,choice1,choice2,label\nx,Who?,a,b,0\ny,Why?,c,d,1\nz,How?,e,f,0\n")
    with pytest.raises(UserError, match=r"'Who\?' is neither cause nor effect \(.*plain.csv:2\)"):
        read_user_examples(path, "sw", "cause-effect")
    plain = read_user_examples(path, "sw", "plain")
    assert plain.phrase(plain.examples[0]).context == "x Who?"  # a question in words stays


def test_python_gives_the_same_words(file: Path) -> None:
    read = read_user_examples(file, "sw")
    given = [
        {"context": e.context, "choices": list(e.choices), "question": e.question, "label": e.label}
        for e in read.examples
    ]
    own = examples_from_mappings(given, "sw")
    assert [own.phrase(e) for e in own.examples] == [read.phrase(e) for e in read.examples]
    assert own.place(2) == "example 2"


@pytest.mark.parametrize("label", [None, 2, -1, True, "0"])
def test_a_label_that_names_no_choice_is_refused(label: object) -> None:
    with pytest.raises(UserError, match="example 1"):
        examples_from_mappings(
            [{"context": "a", "choices": ["b", "c"], "label": 0},
             {"context": "a", "choices": ["b", "c"], "label": label}],
            "sw",
        )  # fmt: skip


def test_examples_in_every_form() -> None:
    given = [{"context": "a", "choices": ["b", "c"], "label": 0}]
    found = as_user_examples(given, "sw")
    assert found.examples[0].label == 0 and as_user_examples(found, None) is found
    with pytest.raises(UserError, match="language"):
        as_user_examples(given, None)
