from collections import Counter

import pytest

from metaxcr.tasks.example import Example
from metaxcr.tasks.mislabel import mislabel


def make(n: int, choices: int, label: int | None) -> Example:
    return Example(str(n), "context", "", tuple(map(str, range(choices))), label, "en", "toy")


EXAMPLES = [make(n, 2 + n % 2, n // 2 % (2 + n % 2)) for n in range(400)] + [make(400, 2, None)]


def test_true_labels_stay() -> None:
    assert mislabel(EXAMPLES, "true") == EXAMPLES


def test_flipped_labels_are_always_wrong_and_always_the_same() -> None:
    flipped = mislabel(EXAMPLES, "flipped")
    wrong = [e.label != old.label for e, old in zip(flipped, EXAMPLES, strict=True) if old.label is not None]
    assert all(wrong)
    assert [e.label for e in mislabel([make(0, 3, 0), make(1, 3, 1), make(2, 3, 2)], "flipped")] == [1, 2, 0]


def test_shuffled_labels_keep_how_often_each_is_right() -> None:
    shuffled = mislabel(EXAMPLES, "shuffled")
    assert shuffled == mislabel(EXAMPLES, "shuffled")
    for choices in (2, 3):
        group = [(e, old) for e, old in zip(shuffled, EXAMPLES, strict=True) if len(e.choices) == choices]
        assert Counter(e.label for e, _ in group) == Counter(old.label for _, old in group)
        kept = sum(e.label == old.label for e, old in group if old.label is not None) / len(group)
        assert kept == pytest.approx(1 / choices, abs=0.1)


@pytest.mark.parametrize("labels", ["shuffled", "flipped"])
def test_nothing_but_the_label_changes(labels: str) -> None:
    for e, old in zip(mislabel(EXAMPLES, labels), EXAMPLES, strict=True):  # type: ignore[arg-type]
        assert (e.id, e.context, e.choices, e.label is None) == (
            old.id,
            old.context,
            old.choices,
            old.label is None,
        )
