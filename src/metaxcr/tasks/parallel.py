"""Unlabelled parallel text: the same sentences in several languages, line by line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metaxcr.errors import UserError
from metaxcr.tasks import text
from metaxcr.tasks.example import Example
from metaxcr.tasks.leaks import identity
from metaxcr.tasks.registry import load, task_ids, task_spec

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
        corpus: A corpus of kind ``parallel`` (:func:`metaxcr.tasks.text.corpus_ids`), or a parallel task,
            whose contexts and choices are then taken without their labels.
        split: Of the corpus; ``"dev"`` or ``"devtest"`` for FLORES-200.
        languages: ISO 639-1 codes; English is read in any case.
        root: Data root; default: see :func:`metaxcr.tasks.roots.candidate_roots`.

    Raises:
        UserError: The corpus, split, language or a file is unknown or missing, or the languages differ in
            length.
    """
    wanted = list(dict.fromkeys(["en", *languages]))
    if corpus in text.corpus_ids():
        return _plain_text(corpus, split, wanted, root)
    if corpus in task_ids() and task_spec(corpus).parallel:
        return _task_text(corpus, split, wanted, root)
    raise UserError(f"unknown parallel corpus {corpus!r}", PLACE, f"known: {_known()}")


def _plain_text(corpus: str, split: str, languages: list[str], root: Path | None) -> ParallelCorpus:
    kind = text.corpus(corpus).kind
    if kind != "parallel":
        what = "a list of word pairs" if kind == "lexicon" else "text whose lines are not aligned"
        raise UserError(f"{corpus!r} is no parallel text but {what}", PLACE, f"known: {_known()}")
    text.check_asked(text.corpus(corpus), split, languages, PLACE)
    read = {code: text.load_text(corpus, code, split, root=root, place=PLACE) for code in languages}
    text.check_step(read)
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
    plain = [name for name in text.corpus_ids() if text.corpus(name).kind == "parallel"]
    return ", ".join([*plain, *(name for name in task_ids() if task_spec(name).parallel)])
