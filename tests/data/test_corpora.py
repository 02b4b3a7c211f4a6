"""Corpora: declarations, lines and word pairs, and what is said about faulty files."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from metaxcr.data.corpora import (
    CORPORA,
    corpus_ids,
    corpus_spec,
    load_pairs,
    load_parallel,
    load_text,
)
from metaxcr.data.registry import load
from metaxcr.data.spec import Corpus
from metaxcr.errors import UserError


@pytest.fixture(autouse=True)
def _no_other_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def place(root: Path, name: str, content: bytes | str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


ENGLISH, SWAHILI = "flores200/dev/eng_Latn.dev", "flores200/dev/swh_Latn.dev"
WORDS = "bli/xling_eval/en-de/yacle.train.freq.5k.en-de.tsv"


def test_all_corpora_are_there() -> None:
    assert corpus_ids() == ["bli", "flores200", "udhr"]


@pytest.mark.parametrize("name", ["bli", "flores200", "udhr"])
def test_every_corpus_is_declared_completely(name: str) -> None:
    declared = corpus_spec(name)
    assert declared.id == name == (CORPORA / f"{name}.yaml").stem
    assert declared.citation and declared.licence and declared.url.startswith("https://")
    assert all(len(language) == 2 for language in declared.languages)
    assert declared.lines.keys() == declared.splits.keys()
    names = {declared.files_of(split, code)[0] for split in declared.splits for code in declared.languages}
    assert len(names) == len(declared.splits) * len(declared.languages)
    fetched = {one.to.format(language=code) for one in declared.fetch for code in declared.codes.values()}
    assert fetched == (names if declared.fetch else set())
    assert Corpus.model_validate(declared.model_dump(mode="json")) == declared


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"titel": "x"}, "titel"),
        ({"kind": "words"}, "kind"),
        ({"splits": {"all": "{code}.txt"}}, "may name only language"),
        ({"languages": []}, "languages"),
        ({"version": 0}, "version"),
    ],
)
def test_a_wrong_key_is_refused(change: dict[str, object], message: str) -> None:
    declared = corpus_spec("udhr").model_dump(mode="json")
    with pytest.raises(ValidationError, match=message):
        Corpus.model_validate({**declared, **change})


def test_an_unknown_corpus_is_named() -> None:
    with pytest.raises(UserError, match="unknown corpus 'opus'") as caught:
        corpus_spec("opus")
    assert caught.value.fix == "There are bli, flores200, udhr"


def test_plain_text_has_one_split_and_no_blank_lines(tmp_path: Path) -> None:
    path = place(tmp_path, "udhr/udhr_ht.txt", "\ufeffDeklarasyon\r\n\r\nAtik 1\u2028b\r\n")
    text = load_text("udhr", "ht", root=tmp_path)
    assert text.lines == ["Deklarasyon", "Atik 1\u2028b"] and text.file == path
    assert load_text("udhr", "ht", "all", root=tmp_path) == text


def test_parallel_text_keeps_step(tmp_path: Path) -> None:
    place(tmp_path, ENGLISH, "\nOne.\n \nThree.\n\n")
    place(tmp_path, SWAHILI, "Sifuri.\nMoja.\nMbili.\nTatu.")
    assert load_text("flores200", "en", "dev", root=tmp_path).lines == ["", "One.", "", "Three."]
    pairs = load_pairs("flores200", "sw", "dev", root=tmp_path)
    assert pairs == [("One.", "Moja."), ("Three.", "Tatu.")]


def test_languages_of_different_length_are_refused(tmp_path: Path) -> None:
    place(tmp_path, ENGLISH, "One.\nTwo.\n")
    short = place(tmp_path, SWAHILI, "Moja.\n")
    with pytest.raises(UserError, match="en 2, sw 1 lines") as caught:
        load_pairs("flores200", "sw", "dev", root=tmp_path)
    assert caught.value.where == f"{short}:1" and caught.value.fix


@pytest.mark.parametrize("text", ["of\tvon\nto\tzu\n", "of von\r\nto zu\r\n", "\n of \t von \n\nto\tzu"])
def test_words_stand_at_a_tab_or_a_blank(tmp_path: Path, text: str) -> None:
    place(tmp_path, WORDS, text)
    assert load_pairs("bli", "de", "train", root=tmp_path) == [("of", "von"), ("to", "zu")]


def test_a_tab_separates_expressions_of_several_words(tmp_path: Path) -> None:
    place(tmp_path, WORDS, "ice cream\tdas Eis\n")
    assert load_pairs("bli", "de", "train", root=tmp_path) == [("ice cream", "das Eis")]


@pytest.mark.parametrize(
    ("line", "message"),
    [("of", "1 words"), ("of\t", "1 words"), ("a\tb\tc", "3 words"), ("a b c", "3 words")],
)
def test_a_line_without_two_words_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = place(tmp_path, WORDS, f"to\tzu\n{line}\n")
    with pytest.raises(UserError, match=message) as caught:
        load_pairs("bli", "de", "train", root=tmp_path)
    assert caught.value.where == f"{path}:2" and caught.value.fix


@pytest.mark.parametrize(
    ("content", "message", "line"),
    [
        (b"One.\nTw\xff.\n", "not UTF-8", ":2"),
        (b"One.\nTw\0o.\n", "NUL", ":2"),
        (b"", "empty", ""),
        (b"\n \n", "empty", ""),
        ("Öne.\n".encode("utf-16"), "UTF-16", ""),
    ],
)
def test_a_faulty_file_is_named(tmp_path: Path, content: bytes, message: str, line: str) -> None:
    path = place(tmp_path, "udhr/udhr_en.txt", content)
    with pytest.raises(UserError, match=message) as caught:
        load_text("udhr", "en", root=tmp_path)
    assert caught.value.where == f"{path}{line}" and caught.value.fix


@pytest.mark.parametrize(
    ("name", "language", "split", "message", "fix"),
    [
        ("flores200", "sw", None, "several splits", "dev, devtest"),
        ("flores200", "sw", "train", "no split 'train'", "dev, devtest"),
        ("flores200", "xx", "dev", "no language 'xx'", "en"),
        ("bli", "en", "train", "no language 'en'", "de, fr, it, ru, tr"),
        ("udhr", "sw", None, "not aligned", "load_text"),
        ("flores200", "sw", "dev", "eng_Latn.dev' of task 'flores200' is missing", "metaxcr tasks fetch"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, name: str, language: str, split: str | None, message: str, fix: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_pairs(name, language, split, root=tmp_path)
    assert caught.value.fix is not None and fix in caught.value.fix


def test_word_pairs_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="list of word pairs") as caught:
        load_text("bli", "de", "train", root=tmp_path)
    assert caught.value.fix == "use load_pairs"


def test_what_cannot_be_fetched_is_to_be_placed(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_text("udhr", "en", root=tmp_path)
    assert caught.value.fix is not None and caught.value.fix.startswith("give --data")


def write(root: Path, code: str, lines: list[str]) -> None:
    place(root, f"flores200/dev/{code}.dev", "\n".join(lines) + "\n")


def test_plain_text_keeps_the_lines_aligned(tmp_path: Path) -> None:
    write(tmp_path, "eng_Latn", ["One.", "Two."])
    write(tmp_path, "swh_Latn", ["Moja.", "Mbili."])
    corpus = load_parallel("flores200", "dev", ["sw"], root=tmp_path)
    assert corpus.sentences == {"en": ["One.", "Two."], "sw": ["Moja.", "Mbili."]}
    assert len(corpus.files) == 2 and corpus.examples == []


def test_files_of_different_length_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "eng_Latn", ["One.", "Two."])
    write(tmp_path, "swh_Latn", ["Moja."])
    with pytest.raises(UserError, match="en 2, sw 1"):
        load_parallel("flores200", "dev", ["sw"], root=tmp_path)


@pytest.mark.parametrize(
    ("corpus", "split", "languages", "message"),
    [
        ("flores", "dev", ["sw"], "unknown parallel corpus"),
        ("copa", "train", ["en"], "unknown parallel corpus"),  # a task, but not a parallel one
        ("udhr", "all", ["sw"], "lines are not aligned"),
        ("bli", "train", ["de"], "a list of word pairs"),
        ("flores200", "train", ["sw"], "no split 'train'"),
        ("flores200", "dev", ["xx"], "no language 'xx'"),
        ("flores200", "dev", ["sw"], "eng_Latn.dev' of task 'flores200' is missing"),
    ],
)
def test_mistakes_with_parallel_text_are_named(
    tmp_path: Path, corpus: str, split: str, languages: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_parallel(corpus, split, languages, root=tmp_path)


def test_a_parallel_task_gives_contexts_and_choices() -> None:
    corpus = load_parallel("starter_target", "shots", ["sw", "zh"])
    first = load("starter_target", "shots", language="zh").examples[0]
    assert corpus.sentences["zh"][:3] == [first.context, *first.choices]
    assert len(corpus.sentences["en"]) == len(corpus.sentences["sw"]) == 3 * 36
    assert {e.language for e in corpus.examples} == {"en", "sw", "zh"}


@pytest.mark.real
def test_flores_has_997_lines_in_every_language(data_root: Path) -> None:
    languages = ["et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh", "ar", "es", "eu", "ru"]
    corpus = load_parallel("flores200", "dev", languages, root=data_root)
    assert {len(lines) for lines in corpus.sentences.values()} == {997}
    assert all(line.strip() for lines in corpus.sentences.values() for line in lines)
