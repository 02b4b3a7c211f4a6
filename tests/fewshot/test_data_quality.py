"""Data quality: duplicates, contradictions, doubtful and inverted labels."""

from metaxcr.data.example import Example
from metaxcr.fewshot.data_quality import duplicate_groups, duplicate_issues, inverted_labels_p, label_issues

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
