"""Text without questions: sentences in several languages line by line, plain text, lists of word pairs.

Unlabelled parallel text: the same sentences in several languages, line by line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from metaxcr.data.contamination import identity
from metaxcr.data.data_dirs import VARIABLE, cache_root, candidate_roots
from metaxcr.data.download import Download
from metaxcr.data.example import Example
from metaxcr.data.registry import load, task_ids, task_spec
from metaxcr.data.rows import Defect, lines_of
from metaxcr.data.spec import Strict, check_words
from metaxcr.errors import UserError
from metaxcr.parse import read_yaml

CORPORA = Path(__file__).parent / "corpora"
Kind = Literal["parallel", "text", "lexicon"]


class Corpus(Strict):
    """A text as its YAML file declares it.

    Attributes:
        id: Name of the corpus and of the YAML file.
        version: Raised whenever its texts may change.
        kind: ``parallel``: line n says the same in every language; ``text``: lines of one language, aligned
            with nothing; ``lexicon``: an English word and its translation a line.
        languages: ISO 639-1 code -> the code that file names use; a plain list where the two agree. A lexicon
            has the languages that are translated into.
        splits: Name -> file relative to the data root, ``{language}`` stands for the code in file names.
        lines: Lines of the official files by split and language, or by split where they agree.
        fetch: Where the files come from (``metaxcr tasks fetch``).
        licence, citation, url, defects: For the reader of a result.
    """

    id: str
    version: int = Field(ge=1)
    title: str
    kind: Kind
    languages: dict[str, str] = Field(min_length=1)
    splits: dict[str, str] = Field(min_length=1)
    lines: dict[str, int | dict[str, int]] = Field(default_factory=dict)
    fetch: list[Download] = Field(default_factory=list)
    licence: str
    citation: str
    url: str
    defects: list[str] = Field(default_factory=list)

    @field_validator("languages", mode="before")
    @classmethod
    def _own_codes(cls, languages: Any) -> Any:
        """Let a list stand for languages that file names spell as they are."""
        return {code: code for code in languages} if isinstance(languages, list) else languages

    @field_validator("splits")
    @classmethod
    def _known_words(cls, splits: dict[str, str]) -> dict[str, str]:
        """Refuse a file name with a placeholder other than the language."""
        return {split: check_words(name, {"language"}) for split, name in splits.items()}

    @property
    def codes(self) -> dict[str, str]:
        """How file names spell the languages, as a task has it."""
        return self.languages

    @property
    def package(self) -> bool:
        """Whether the files ship inside the package: of no corpus."""
        return False

    def split_languages(self, split: str) -> list[str]:
        """List the languages that a split has: all."""
        return list(self.languages)

    def files_of(self, split: str, language: str) -> list[str]:
        """Name the file of one split in one language, relative to a data root."""
        return [self.splits[split].format(language=self.languages[language])]


@dataclass(frozen=True, slots=True)
class CorpusText:
    """The lines of one language.

    Attributes:
        lines: Without line ends; in parallel text a blank line stays, as an empty one.
        files: What was read, for :func:`metaxcr.data.data_dirs.data_fingerprint`.
    """

    lines: list[str]
    files: list[Path]


def corpus_ids() -> list[str]:
    """List the ids of all corpora, sorted."""
    return sorted(path.stem for path in CORPORA.glob("*.yaml"))


def corpus_spec(corpus_id: str) -> Corpus:
    """Return the declaration of a corpus.

    Args:
        corpus_id: Its id, see :func:`corpus_ids`.

    Raises:
        UserError: There is no such corpus.
    """
    if corpus_id not in corpus_ids():
        raise UserError(f"unknown corpus '{corpus_id}'", None, f"There are {', '.join(corpus_ids())}")
    return _read(CORPORA / f"{corpus_id}.yaml")


@lru_cache
def _read(path: Path) -> Corpus:
    return Corpus.model_validate(read_yaml(path))


def load_text(
    corpus_id: str,
    language: str,
    split: str | None = None,
    *,
    root: Path | None = None,
    place: str | None = None,
) -> CorpusText:
    """Read the lines of one language of a corpus.

    Args:
        corpus_id: Parallel or plain text, see :func:`corpus_ids`.
        language: ISO 639-1 code.
        split: Of the corpus; not needed where there is only one.
        root: Data root; default: see :func:`metaxcr.data.data_dirs.candidate_roots`.
        place: Where the user asked for it, for messages.

    Returns:
        The lines. Blank lines of plain text are left out; in parallel text they stay, so that languages keep
        step, except behind the last line that is not blank.

    Raises:
        UserError: The corpus has no lines of text, or no such split or language; a file is missing, is not
            UTF-8 or is empty.
    """
    declared = corpus_spec(corpus_id)
    if declared.kind == "lexicon":
        raise UserError(f"'{corpus_id}' is a list of word pairs, not text", place, "use load_pairs")
    path = _file(declared, check_asked(declared, split, [language], place), language, root)
    lines: list[str] = []
    for number, line in _lines(path):
        if declared.kind == "parallel":
            lines += [""] * (number - 1 - len(lines))
        lines.append(line)
    return CorpusText(lines, [path])


def load_pairs(
    corpus_id: str, language: str, split: str | None = None, *, root: Path | None = None
) -> list[tuple[str, str]]:
    """Read an English text or word, and what it is in another language.

    Args:
        corpus_id: Parallel text or a lexicon, see :func:`corpus_ids`.
        language: ISO 639-1 code of the other language.
        split: Of the corpus; not needed where there is only one.
        root: Data root; default: see :func:`metaxcr.data.data_dirs.candidate_roots`.

    Returns:
        (English, other language) in the order of the files; pairs with a blank side are left out.

    Raises:
        UserError: The corpus has no pairs, or no such split or language; a file is missing, empty or not
            UTF-8; the two languages differ in length; a line of a lexicon has not two fields.
    """
    declared = corpus_spec(corpus_id)
    if declared.kind == "text":
        raise UserError(f"the lines of '{corpus_id}' are not aligned", None, "use load_text")
    if declared.kind == "lexicon":
        path = _file(declared, check_asked(declared, split, [language]), language, root)
        return [_word_pair(line, f"{path}:{number}") for number, line in _lines(path)]
    check_asked(declared, split, ["en", language])
    english, other = (load_text(corpus_id, code, split, root=root) for code in ("en", language))
    check_step({"en": english, language: other})
    return [(one, two) for one, two in zip(english.lines, other.lines, strict=True) if one and two]


def check_step(texts: dict[str, CorpusText]) -> None:
    """Refuse languages of a parallel text that differ in length.

    Args:
        texts: Language -> its lines.

    Raises:
        UserError: The lengths differ; the message names the shortest file's end.
    """
    sizes = {language: len(text.lines) for language, text in texts.items()}
    if len(set(sizes.values())) > 1:
        shortest = texts[min(sizes, key=lambda language: sizes[language])]
        raise UserError(
            f"the languages differ in length ({', '.join(f'{name} {n}' for name, n in sizes.items())} lines)",
            f"{shortest.files[0]}:{len(shortest.lines)}",
            "fetch the files again: the same line must say the same in all of them",
        )


def _word_pair(line: str, where: str) -> tuple[str, str]:
    """Cut a line of a lexicon at its tab, or at its blank where there is no tab."""
    fields = [field.strip() for field in (line.split("\t") if "\t" in line else line.split())]
    if len(fields) != 2 or not all(fields):
        found = sum(map(bool, fields))
        raise UserError(f"{found} words where two belong", where, "write two, with a tab in between")
    return fields[0], fields[1]


def _lines(path: Path) -> list[tuple[int, str]]:
    """List the lines that are not blank, with their numbers."""
    lines = []
    for number, line in lines_of(path):
        if isinstance(line, Defect):
            raise UserError(line.what, f"{path}:{number}", line.fix)
        lines.append((number, line))
    if not lines:
        raise UserError("the file is empty", str(path), "fetch it again")
    return lines


def check_asked(
    declared: Corpus, split: str | None, languages: Sequence[str], place: str | None = None
) -> str:
    """Refuse a split or languages that a corpus does not have, before a file is looked for.

    Args:
        declared: The corpus.
        split: One of its splits; None where there is only one.
        languages: ISO 639-1 codes.
        place: Where the user asked for them, for the message.

    Returns:
        The split.

    Raises:
        UserError: There is no such split or language.
    """
    if split is None and len(declared.splits) == 1:
        split = next(iter(declared.splits))
    if split is None:
        raise UserError(f"'{declared.id}' has several splits", place, _choose(declared.splits))
    if split not in declared.splits:
        raise UserError(f"'{declared.id}' has no split '{split}'", place, _choose(declared.splits))
    unknown = [language for language in languages if language not in declared.languages]
    if unknown:
        raise UserError(f"'{declared.id}' has no language '{unknown[0]}'", place, _choose(declared.languages))
    return split


def _file(declared: Corpus, split: str, language: str, root: Path | None) -> Path:
    """Find the file of one split in one language."""
    name = declared.files_of(split, language)[0]
    roots = candidate_roots(root)
    for candidate in roots:
        if (candidate / name).is_file():
            return candidate / name
    fetch = f"'metaxcr tasks fetch {declared.id}', or " if declared.fetch else ""
    folder = Path(name).parts[0]
    raise UserError(
        f"'{name}' of corpus '{declared.id}' is missing",
        ", ".join(map(str, roots)) or f"--data, ${VARIABLE}, {cache_root()}",
        f"{fetch}give --data or set {VARIABLE} to the folder that holds '{folder}' ({declared.url})",
    )


def _choose(names: dict[str, str]) -> str:
    return f"choose one of {', '.join(names)}"


PLACE = "target.parallel"


@dataclass(frozen=True)
class ParallelCorpus:
    """Sentences in several languages.

    Attributes:
        sentences: Language -> its sentences; line n says the same in all of them.
        files: What was read.
        examples: The questions that the sentences were taken from, for the leak guard; none for plain text.
    """

    sentences: dict[str, list[str]]
    files: list[Path]
    examples: list[Example]


def load_parallel(
    corpus: str, split: str, languages: Sequence[str], *, root: Path | None = None
) -> ParallelCorpus:
    """Read English and other languages of a parallel corpus.

    Args:
        corpus: A corpus of kind ``parallel`` (:func:`metaxcr.data.corpora.corpus_ids`), or a parallel task,
            whose contexts and choices are then taken without their labels.
        split: Of the corpus; ``"dev"`` or ``"devtest"`` for FLORES-200.
        languages: ISO 639-1 codes; English is read in any case.
        root: Data root; default: see :func:`metaxcr.data.data_dirs.candidate_roots`.

    Raises:
        UserError: The corpus, split, language or a file is unknown or missing, or the languages differ in
            length.
    """
    wanted = list(dict.fromkeys(["en", *languages]))
    if corpus in corpus_ids():
        return _plain_text(corpus, split, wanted, root)
    if corpus in task_ids() and task_spec(corpus).parallel:
        return _task_text(corpus, split, wanted, root)
    raise UserError(f"unknown parallel corpus {corpus!r}", PLACE, f"known: {_known()}")


def _plain_text(corpus: str, split: str, languages: list[str], root: Path | None) -> ParallelCorpus:
    kind = corpus_spec(corpus).kind
    if kind != "parallel":
        what = "a list of word pairs" if kind == "lexicon" else "text whose lines are not aligned"
        raise UserError(f"{corpus!r} is no parallel text but {what}", PLACE, f"known: {_known()}")
    check_asked(corpus_spec(corpus), split, languages, PLACE)
    read = {code: load_text(corpus, code, split, root=root, place=PLACE) for code in languages}
    check_step(read)
    return ParallelCorpus(
        {code: part.lines for code, part in read.items()},
        [file for part in read.values() for file in part.files],
        [],
    )


def _task_text(task: str, split: str, languages: list[str], root: Path | None) -> ParallelCorpus:
    loaded = {
        language: load(_version(task, split, language), split, language=language, root=root)
        for language in languages
    }
    files = [file for part in loaded.values() for file in part.files]
    by_item = {language: {identity(e): e for e in part.examples} for language, part in loaded.items()}
    items = [identity(e) for e in loaded["en"].examples]
    if len({frozenset(found) for found in by_item.values()}) > 1:
        sizes = ", ".join(f"{language} {len(found)}" for language, found in by_item.items())
        raise UserError(f"the languages of {task} differ in their items ({sizes})", str(files[0].parent))
    sentences = {
        language: [line for item in items for line in (found[item].context, *found[item].choices)]
        for language, found in by_item.items()
    }
    return ParallelCorpus(sentences, files, [e for part in loaded.values() for e in part.examples])


def _version(task: str, split: str, language: str) -> str:
    """Name the task that has the items in a language: XCOPA's English is a task of its own, xcopa_en."""
    spec = task_spec(task)
    if language in spec.languages:
        return task
    for other in map(task_spec, task_ids()):
        same = spec.origin is not None and other.origin == spec.origin
        if same and other.parallel and split in other.splits and language in other.split_languages(split):
            return other.id
    return task  # whose reader names the languages that there are


def _known() -> str:
    plain = [name for name in corpus_ids() if corpus_spec(name).kind == "parallel"]
    return ", ".join([*plain, *(name for name in task_ids() if task_spec(name).parallel)])
