"""How labels are spelt."""

import pytest

from metaxcr.data.infer.guess_labels import AmbiguousLabels, RowLabel, label_kind


def rows(*raw, texts=("x", "y"), keys=()):
    return [RowLabel(n, value, texts, keys) for n, value in enumerate(raw, start=1)]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (rows(0, 1), "zero"),
        (rows(1, 2), "one"),
        (rows("1", "2"), "one"),
        (rows("۱", "۲"), "one"),
        (rows("A", "b"), "letter"),
        (rows("x", " y"), "text"),
        (rows("A", "B", keys=("A", "B")), "key"),
        (rows("3", "4", keys=("3", "4")), "key"),
        # digits within range are indices even where they are texts of choices, too
        (rows("1", "3", texts=("3", "1", "2")), "one"),
        (rows("0", "1", texts=("1", "0")), "zero"),
        # years are no indices
        (rows("2003", "2001", texts=("2001", "2003")), "text"),
        (rows(2003, 2001, texts=("2001", "2003")), None),
        (rows(0, 2), None),
        (rows("yes", "no"), None),
        (rows(True, False), "zero"),
        (rows(True, False, texts=("x", "y", "z")), None),
        (rows("x", "z"), None),
    ],
)
def test_all_labels_tell_the_kind(labels, kind):
    found = label_kind(labels, "file")
    assert (found and found[0]) == kind


def test_a_last_label_decides_by_the_rows_own_choices():
    both = [*rows(1, texts=("x", "y", "z")), *rows(2)]
    assert label_kind(both, "file")[0] == "one"


@pytest.mark.parametrize("labels", [rows(1, 1), rows("1", "2", texts=("x", "y", "z"))])
def test_from_0_or_from_1_must_be_told_where_neither_end_occurs(labels):
    with pytest.raises(AmbiguousLabels, match="--labels zero or --labels one"):
        label_kind(labels, "file")


def test_a_few_texts_that_are_no_choice_are_for_the_reader_to_name():
    many = [*rows(*["x"] * 99), *rows("z")]
    assert label_kind(many, "file")[0] == "text"
