"""A user's own examples in every shape; duplicates, contradictions, doubtful and inverted labels."""

from pathlib import Path

import pytest

from metaxcr.data.example import Example
from metaxcr.errors import UserError
from metaxcr.fewshot.user_examples import (
    as_user_examples,
    duplicate_groups,
    duplicate_issues,
    examples_from_mappings,
    inverted_labels_p,
    label_issues,
    read_user_examples,
)

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


TEXTS = [
    ("The glass fell on the floor.", "It broke.", "It filled up.", 0),
    ("He forgot his umbrella at home.", "He got wet in the rain.", "He stayed dry all day.", 0),
    ("the glass fell on the floor", "It filled up.", "It broke.", 1),  # the same, choices swapped
    ("The glass fell on the floor.", "It broke.", "It filled up.", 1),  # the same with the other answer
    (
        "He forgot his umbrella at home again.",
        "He got wet in the rain.",
        "He stayed dry all day.",
        0,
    ),  # nearly
    ("She planted a small tree.", "It grew for years.", "It sang a song.", 0),
]


def example(row: int) -> Example:
    context, *choices, label = TEXTS[row]
    return Example(f"{row}", context, "effect", tuple(choices), label, "en", "own")


EXAMPLES = [example(row) for row in range(len(TEXTS))]


def test_equal_and_nearly_equal_examples_are_grouped() -> None:
    assert duplicate_groups(EXAMPLES) == [0, 1, 0, 0, 1, 5]


def test_chains_of_duplicates_are_one_group() -> None:
    words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    texts = [words, words.replace("one", "uno"), words.replace("one", "uno").replace("two", "dos")]
    choices = ("It is a list.", "It is not.")
    chain = [Example(str(n), text, "effect", choices, 0, "en", "own") for n, text in enumerate(texts)]
    assert duplicate_groups(chain) == [0, 0, 0]


def test_contradictions_weigh_more_than_repetitions() -> None:
    found = {issue.row: issue for issue in duplicate_issues(EXAMPLES, duplicate_groups(EXAMPLES))}
    assert set(found) == {2, 3, 4}
    assert "another answer" in found[3].reason and "another answer" not in found[2].reason
    assert found[3].weight > found[2].weight
    assert "nearly the same as 1" in found[4].reason


def test_a_label_that_an_unseeing_model_is_sure_against_is_doubted() -> None:
    found = label_issues([[0.95, 0.05], [0.04, 0.96], [0.3, 0.7], [0.01, 0.99]], [1, 1, 0, 0])
    assert [s.row for s in found] == [0, 3]
    assert found[1].weight > found[0].weight
    assert "labelled 0, but choice 1 has 99%" in found[1].reason


def test_flipped_labels_show_as_an_accuracy_below_chance() -> None:
    p = inverted_labels_p(right=18, counts=[2] * 60)
    assert p is not None and p < 0.01
    assert inverted_labels_p(right=30, counts=[2] * 60) is None
    assert inverted_labels_p(right=25, counts=[2] * 60) is None  # bad luck happens
    assert inverted_labels_p(right=10, counts=[5] * 60) is None
