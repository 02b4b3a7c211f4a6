"""Text: its held-out parts, the words of lines, packing, and whole-word masks."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mlm.conftest import CLS, MASK, SEP, ToyTokenizer, build_encoder

from metaxcr.encoders.encoder import FrozenEncoder, Text, TokenizedText, WordTokens
from metaxcr.errors import UserError
from metaxcr.mlm.corpus import (
    DOCUMENT_LINES,
    MASKED,
    MOST_PIECES,
    NO_UNIT,
    RANDOM,
    RATE,
    Frame,
    Packed,
    choose,
    documents,
    frame,
    has_spaces,
    hold_out,
    mask,
    pack,
    read_corpus,
    read_file,
    tokenize_lines,
)


def test_blank_lines_separate_documents_and_otherwise_every_ten_lines() -> None:
    assert [d.lines for d in documents("f", ["a", "b ", "", "", " c", ""])] == [["a", "b"], ["c"]]
    sizes = [len(d.lines) for d in documents("f", [str(n) for n in range(25)])]
    assert sizes == [DOCUMENT_LINES, DOCUMENT_LINES, 5]
    assert documents("f", ["", " "]) == []


def test_documents_stay_whole_and_the_seed_alone_decides() -> None:
    docs = documents("f", [str(n) for n in range(200)])
    (parts, dropped), again, (other, _) = (
        hold_out(docs, 0.1, 0),
        hold_out(docs, 0.1, 0),
        hold_out(docs, 0.1, 1),
    )
    assert (parts, dropped) == again and parts["test"] != other["test"]
    everything = [line for part in parts.values() for line in part]
    assert sorted(everything, key=int) == [str(n) for n in range(200)] and dropped == 0
    assert len(parts["stop"]) == len(parts["test"]) == 20
    for doc in docs:
        assert sum(set(doc.lines) <= set(part) for part in parts.values()) == 1


def test_a_held_out_line_is_never_trained_on() -> None:
    docs = documents("f", [f"own {n}" if n % 2 else "the same" for n in range(100)])
    parts, dropped = hold_out(docs, 0.1, 0)
    train, stop, test = (set(parts[name]) for name in ("train", "stop", "test"))
    assert not train & (stop | test) and not stop & test
    assert dropped == 40


@pytest.mark.parametrize("lines", [["one"] * 29, ["one"] * 200])
def test_too_little_text_is_refused(lines: list[str]) -> None:
    with pytest.raises(UserError, match="too little text"):
        hold_out(documents("f", lines), 0.1, 0)


def test_files(tmp_path: Path) -> None:
    good, empty, wrong = tmp_path / "good.txt", tmp_path / "empty.txt", tmp_path / "wrong.txt"
    good.write_bytes("\ufeffeins\r\n\r\nzwei\u2028drei\n".encode())
    empty.write_text(" \n\n", encoding="utf-8")
    wrong.write_bytes(b"fine\nnot \xff fine\n")
    assert [d.lines for d in read_file(good)] == [["eins"], ["zwei\u2028drei"]]
    with pytest.raises(UserError, match="the file is empty"):
        read_file(empty)
    with pytest.raises(UserError, match=r"not UTF-8 text \(.*wrong\.txt:2\)"):
        read_file(wrong)
    with pytest.raises(UserError, match="no such file"):
        read_file(tmp_path / "none.txt")


def test_corpora_that_cannot_be_trained_on() -> None:
    with pytest.raises(UserError, match="is not a text to train on"):
        read_corpus("bli", "de")
    with pytest.raises(UserError, match="unknown corpus 'x'"):
        read_corpus("x", "de")


@pytest.mark.real
def test_flores_gives_its_development_split(data_root: Path) -> None:
    declared, docs = read_corpus("flores200", "sw", data_root)
    assert declared.licence and docs[0].source == "flores200 dev"
    assert sum(len(d.lines) for d in docs) == 997


def units(encoder: FrozenEncoder, line: str, whole_words: bool = True) -> list[int | None]:
    return tokenize_lines(encoder, [line], whole_words=whole_words)[0].words


def test_words_are_units_unless_they_are_long_or_the_script_has_no_spaces(encoder: FrozenEncoder) -> None:
    assert units(encoder, "ab abcdef abc") == [0, 1, 1, 2]
    assert units(encoder, "ab abcdef abc", whole_words=False) == [0, 1, 2, 3]
    long = "abc" * (MOST_PIECES + 1)
    assert units(encoder, f"ab {long} abcd") == [
        0,
        *range(1, MOST_PIECES + 2),
        MOST_PIECES + 2,
        MOST_PIECES + 2,
    ]


def test_lines_without_a_token_are_left_out(encoder: FrozenEncoder) -> None:
    assert len(tokenize_lines(encoder, ["ab", " ", "cd"], whole_words=True)) == 2


@pytest.mark.parametrize(("language", "answer"), [("sw", True), ("zh", False), ("th", False), ("ja", False)])
def test_scripts_without_spaces(language: str, answer: bool) -> None:
    assert has_spaces(language) is answer


def test_the_frame_is_the_special_tokens_and_the_prefix(encoder: FrozenEncoder) -> None:
    plain, prefixed = frame(encoder), frame(build_encoder("query: "))
    assert plain == ([CLS], [SEP], MASK) and plain.separator == SEP
    own = ToyTokenizer().words([Text("query:")])[0].ids
    assert prefixed.before == own[:-1] and prefixed.after == [SEP]


class NoWords:
    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        return []


class NoMask(ToyTokenizer):
    mask_id = None  # type: ignore[assignment]


class NoEnd(ToyTokenizer):
    def words(self, texts: Sequence[Text]) -> list[WordTokens]:
        return [WordTokens(w.ids[:-1], w.words[:-1]) for w in super().words(texts)]


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (NoWords(), "does not know where words begin"),
        (NoMask(), "no mask token"),
        (NoEnd(), "ends a text with no"),
    ],
)
def test_tokenizers_that_do_not_do(tokenizer: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        frame(build_encoder(tokenizer=tokenizer))


FRAME = Frame([1, 7], [2], 3)


def line(sizes: list[int], first: int) -> WordTokens:
    units: list[int | None] = [n for n, size in enumerate(sizes) for _ in range(size)]
    return WordTokens(list(range(first, first + len(units))), units)


@given(
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=5), min_size=1, max_size=6), st.integers(4, 12)
)
def test_no_token_is_lost_and_words_keep_apart(sizes: list[list[int]], length: int) -> None:
    lines = [line(words, 100 * (n + 1)) for n, words in enumerate(sizes)]
    packed = pack(lines, FRAME, length)
    for number, sequence in enumerate(packed):
        assert (
            sequence.ids[:2] == [1, 7] and sequence.ids[-1] == 2 and len(sequence.ids) == len(sequence.units)
        )
        assert len(sequence.ids) == length or number == len(packed) - 1
        assert [u for u in (*sequence.units[:2], sequence.units[-1])] == [NO_UNIT] * 3
    body = [pair for s in packed for pair in zip(s.ids[2:-1], s.units[2:-1], strict=True)]
    expected: list[int] = []
    for n, one in enumerate(lines):
        expected += [*([2] if n else []), *one.ids]
    assert [i for i, _ in body] == expected
    assert all((unit == NO_UNIT) == (i == 2) for i, unit in body)
    # two tokens share a unit exactly if they share a word of a line
    words = [(n, w) for n, one in enumerate(lines) for w in one.words]
    units = [u for _, u in body if u != NO_UNIT]
    assert len(set(zip(words, units, strict=True))) == len(set(words)) == len(set(units))


def test_a_frame_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        pack([line([1], 100)], FRAME, 3)


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
