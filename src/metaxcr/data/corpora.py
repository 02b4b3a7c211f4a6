"""Text without questions: plain text, the same sentences in several languages, lists of word pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from metaxcr.data.contamination import identity
from metaxcr.data.example import Example
from metaxcr.data.registry import load, split_files, task_ids, task_spec
from metaxcr.data.rows import lines_of, strict
from metaxcr.data.spec import Corpus
from metaxcr.errors import UserError
from metaxcr.parse import read_yaml

CORPORA = Path(__file__).parent / "corpora"
PARALLEL = "target.parallel"  # the setting that names a parallel corpus


def corpus_ids() -> list[str]:
    """List the ids of all corpora, sorted."""
    return sorted(path.stem for path in CORPORA.glob("*.yaml"))


@lru_cache
def corpus_spec(corpus_id: str) -> Corpus:
    """Return the declaration of a corpus."""
    if corpus_id not in corpus_ids():
        raise UserError(f"unknown corpus '{corpus_id}'", None, f"There are {', '.join(corpus_ids())}")
    return Corpus.model_validate(read_yaml(CORPORA / f"{corpus_id}.yaml"))


@dataclass(frozen=True, slots=True)
class CorpusText:
    """The lines of one language, without line ends; in parallel text a blank line stays as an empty one."""

    lines: list[str]
    file: Path


def load_text(
    corpus_id: str,
    language: str,
    split: str | None = None,
    *,
    root: Path | None = None,
    place: str | None = None,
) -> CorpusText:
    """Read the lines of one language of parallel or plain text; ``place`` says in messages where it is set.

    Blank lines of plain text are left out. In parallel text they stay, so that languages keep step, except
    after the last line that is not blank. The split may be left out where there is only one.
    """
    declared = corpus_spec(corpus_id)
    if declared.kind == "lexicon":
        raise UserError(f"'{corpus_id}' is a list of word pairs, not text", place, "use load_pairs")
    path = _file(declared, split, language, root, place)
    lines: list[str] = []
    for number, line in _lines(path):
        if declared.kind == "parallel":
            lines += [""] * (number - 1 - len(lines))
        lines.append(line)
    return CorpusText(lines, path)


def load_pairs(
    corpus_id: str, language: str, split: str | None = None, *, root: Path | None = None
) -> list[tuple[str, str]]:
    """Read pairs (English, other language) of parallel text or a lexicon, except those with a blank side."""
    declared = corpus_spec(corpus_id)
    if declared.kind == "text":
        raise UserError(f"the lines of '{corpus_id}' are not aligned", None, "use load_text")
    if declared.kind == "lexicon":
        path = _file(declared, split, language, root)
        return [_word_pair(line, f"{path}:{number}") for number, line in _lines(path)]
    english, other = _aligned(declared, split, ["en", language], root)
    return [(one, two) for one, two in zip(english.lines, other.lines, strict=True) if one and two]


def _file(
    declared: Corpus, split: str | None, language: str, root: Path | None, place: str | None = None
) -> Path:
    """Find the file of a split in a language; their names are checked before it is looked for."""
    split = _checked_split(declared, split, [language], place)
    return split_files(declared, split, language, root)[0]


def _checked_split(declared: Corpus, split: str | None, languages: Sequence[str], place: str | None) -> str:
    """Return the split, by default the only one; unknown names of splits and languages are errors."""
    splits, what = list(declared.splits), f"'{declared.id}' has"
    if split is None and len(splits) == 1:
        split = splits[0]
    if split is None or split not in splits:
        found = "several splits" if split is None else f"no split '{split}'"
        raise UserError(f"{what} {found}", place, f"choose one of {', '.join(splits)}")
    for language in languages:
        if language not in declared.languages:
            fix = f"choose one of {', '.join(declared.languages)}"
            raise UserError(f"{what} no language '{language}'", place, fix)
    return split


def _lines(path: Path) -> list[tuple[int, str]]:
    """List the lines that are not blank, with their numbers."""
    lines = list(strict(path, lines_of(path)))
    if not lines:
        raise UserError("the file is empty", str(path), "fetch it again")
    return lines


def _word_pair(line: str, where: str) -> tuple[str, str]:
    """Cut a line of a lexicon at its tab, or at its blank where there is no tab."""
    fields = [field.strip() for field in (line.split("\t") if "\t" in line else line.split())]
    if len(fields) != 2 or not all(fields):
        found = sum(map(bool, fields))
        raise UserError(f"{found} words where two belong", where, "write two, with a tab in between")
    return fields[0], fields[1]


def _aligned(
    declared: Corpus, split: str | None, languages: Sequence[str], root: Path | None, place: str | None = None
) -> list[CorpusText]:
    """Read parallel text; languages that differ in length are an error at the end of the shortest file."""
    split = _checked_split(declared, split, languages, place)
    texts = [load_text(declared.id, code, split, root=root, place=place) for code in languages]
    shortest = min(texts, key=lambda text: len(text.lines))
    if any(len(text.lines) > len(shortest.lines) for text in texts):
        sizes = ", ".join(f"{code} {len(text.lines)}" for code, text in zip(languages, texts, strict=True))
        where = f"{shortest.file}:{len(shortest.lines)}"
        fix = "fetch the files again: the same line must say the same in all of them"
        raise UserError(f"the languages differ in length ({sizes} lines)", where, fix)
    return texts


@dataclass(frozen=True)
class ParallelCorpus:
    """Sentences in several languages."""

    sentences: dict[str, list[str]]  # by language; line n says the same in all of them
    files: list[Path]  # what was read
    examples: list[Example]  # whose texts they are, for the contamination check; none for plain text


def load_parallel(
    corpus: str, split: str, languages: Sequence[str], *, root: Path | None = None
) -> ParallelCorpus:
    """Read English and other languages of a parallel corpus.

    A parallel task may stand in for a corpus; its contexts and choices are then taken without the labels.
    """
    codes = list(dict.fromkeys(["en", *languages]))
    declared = corpus_spec(corpus) if corpus in corpus_ids() else None
    if declared is None and corpus in task_ids() and task_spec(corpus).parallel:
        return _parallel_task(corpus, split, codes, root)
    if declared is None or declared.kind != "parallel":
        plain = [name for name in corpus_ids() if corpus_spec(name).kind == "parallel"]
        known = ", ".join([*plain, *(name for name in task_ids() if task_spec(name).parallel)])
        what = f"unknown parallel corpus {corpus!r}"
        if declared is not None:
            kinds = {"lexicon": "a list of word pairs", "text": "text whose lines are not aligned"}
            what = f"{corpus!r} is not parallel text but {kinds[declared.kind]}"
        raise UserError(what, PARALLEL, f"known: {known}")
    texts = _aligned(declared, split, codes, root, PARALLEL)
    sentences = {code: text.lines for code, text in zip(codes, texts, strict=True)}
    return ParallelCorpus(sentences, [text.file for text in texts], [])


def _parallel_task(task: str, split: str, languages: list[str], root: Path | None) -> ParallelCorpus:
    loaded = {code: load(_task_in(task, split, code), split, language=code, root=root) for code in languages}
    files = [file for part in loaded.values() for file in part.files]
    by_item = {language: {identity(e): e for e in part.examples} for language, part in loaded.items()}
    if len({frozenset(found) for found in by_item.values()}) > 1:
        sizes = ", ".join(f"{language} {len(found)}" for language, found in by_item.items())
        raise UserError(f"the languages of {task} differ in their items ({sizes})", str(files[0].parent))
    items = [identity(e) for e in loaded["en"].examples]
    sentences = {
        language: [line for item in items for line in (found[item].context, *found[item].choices)]
        for language, found in by_item.items()
    }
    return ParallelCorpus(sentences, files, [e for part in loaded.values() for e in part.examples])


def _task_in(task: str, split: str, language: str) -> str:
    """Name the task that has the items in a language: XCOPA's English is a task of its own, xcopa_en."""
    spec = task_spec(task)
    if language in spec.languages:
        return task
    for other in map(task_spec, task_ids()):
        same = spec.origin is not None and other.origin == spec.origin
        if same and other.parallel and split in other.splits and language in other.split_languages(split):
            return other.id
    return task  # load then raises an error that lists its languages
