"""The laws of masking."""

from collections import Counter

import numpy as np

from metaxcr.language.masking import MASKED, RANDOM, RATE, choose, mask
from metaxcr.language.packing import NO_UNIT, Packed

MASK = 3
SIZES = [1, 2, 3, 1, 1, 4, 2, 1] * 8  # tokens of 64 words
UNITS = [NO_UNIT, *[n for n, size in enumerate(SIZES) for _ in range(size)], NO_UNIT]
ROWS = list(range(10, 60))
SEQUENCE = Packed([1, *[10 + n % 50 for n in range(len(UNITS) - 2)], 2], UNITS)


def draws(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(n) for n in range(count)]


def test_whole_words_up_to_the_budget_and_never_special_tokens() -> None:
    tokens = len(UNITS) - 2
    shares = []
    for draw in draws(200):
        chosen = choose(UNITS, RATE, draw)
        assert chosen == sorted(set(chosen)) and len(chosen) <= round(RATE * tokens)
        assert 0 not in chosen and len(UNITS) - 1 not in chosen
        for unit, size in Counter(UNITS[at] for at in chosen).items():
            assert size == SIZES[unit]
        shares.append(len(chosen) / tokens)
    assert abs(float(np.mean(shares)) - RATE) < 0.01


def test_every_word_is_as_likely_as_another_of_its_size() -> None:
    counts = Counter(UNITS[at] for draw in draws(2000) for at in choose(UNITS, RATE, draw))
    singles = [counts[n] for n, size in enumerate(SIZES) if size == 1]
    expected = float(np.mean(singles))
    assert max(abs(count - expected) for count in singles) < 5 * expected**0.5


def test_a_short_text_still_has_something_to_guess() -> None:
    assert choose([NO_UNIT, 0, 0, 0, NO_UNIT], RATE, np.random.default_rng(0)) == [1, 2, 3]
    assert choose([NO_UNIT, NO_UNIT], RATE, np.random.default_rng(0)) == []


def test_fates_and_targets() -> None:
    row_of = {token: row for row, token in enumerate(ROWS)}
    fates: Counter[str] = Counter()
    for draw in draws(1500):
        found = mask(SEQUENCE, MASK, ROWS, row_of, draw)
        assert [ROWS[row] for row in found.targets] == [SEQUENCE.ids[at] for at in found.places]
        for at, (before, after) in enumerate(zip(SEQUENCE.ids, found.ids, strict=True)):
            if at not in found.places:
                assert before == after
            else:
                assert after == MASK or after in ROWS
                fates["mask" if after == MASK else "same" if after == before else "other"] += 1
    total = sum(fates.values())
    assert abs(fates["mask"] / total - MASKED) < 0.01
    assert abs(fates["other"] / total - RANDOM * (1 - 1 / len(ROWS))) < 0.01  # one in 50 is the token itself
