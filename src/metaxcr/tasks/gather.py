"""Every text that is there: of tasks as the encoder reads them, of corpora line by line."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from metaxcr.errors import UserError
from metaxcr.parse import lines_of_text, read_text
from metaxcr.tasks import text
from metaxcr.tasks.phrasing import phrase
from metaxcr.tasks.registry import load, task_ids, task_spec
from metaxcr.tasks.roots import missing_files


class Gathered(NamedTuple):
    """Texts from one place.

    Attributes:
        place: Task or corpus, split, language.
        texts: Contexts and choices, or lines.
    """

    place: str
    texts: list[str]


def task_texts(
    tasks: Sequence[str], languages: Collection[str] | None = None, root: Path | None = None
) -> Iterator[Gathered]:
    """Read all splits of tasks, as far as they are there.

    Args:
        tasks: Their ids.
        languages: ISO 639-1 codes; None: all that a task has.
        root: Data root, see :func:`metaxcr.tasks.roots.candidate_roots`.

    Raises:
        UserError: A task is unknown, or a file cannot be read.
    """
    for task in tasks:
        spec = task_spec(task)
        missing = set(missing_files(spec, root))
        for split in spec.splits:
            for language in spec.split_languages(split):
                wanted = languages is None or language in languages
                if not wanted or missing.intersection(spec.files_of(split, language)):
                    continue
                loaded = load(task, split, language=language, root=root)
                phrased = [phrase(example, spec) for example in loaded.examples]
                texts = [part for p in phrased for part in (p.context, *p.choices) if part]
                yield Gathered(f"{task} {split} {language}", texts)


def corpus_texts(languages: Collection[str], root: Path | None = None) -> Iterator[Gathered]:
    """Read all corpora in some languages, as far as they are there; word lists are no text."""
    for name in text.corpus_ids():
        declared = text.corpus(name)
        if declared.kind == "lexicon":
            continue
        missing = set(missing_files(declared, root))
        for split in declared.splits:
            for language in declared.languages:
                if language in languages and not missing.intersection(declared.files_of(split, language)):
                    lines = text.load_text(name, language, split, root=root).lines
                    yield Gathered(f"{name} {split} {language}", [line for line in lines if line])


def gather(
    tasks: Sequence[str], languages: Sequence[str], files: Sequence[Path] = (), *, root: Path | None = None
) -> list[Gathered]:
    """Gather texts by task, by language, and from files.

    Args:
        tasks: Task ids; none: every task and every corpus that is there, in ``languages``.
        languages: ISO 639-1 codes; none: all languages of ``tasks``.
        files: Plain text, UTF-8, a text a line.
        root: Data root.

    Raises:
        UserError: Something is unknown or cannot be read, or nothing of a task or language is there.
    """
    found = list(task_texts(tasks or (task_ids() if languages else ()), languages or None, root))
    if languages and not tasks:
        found += corpus_texts(languages, root)
    there = {part for gathered in found for part in (gathered.place.split()[0], gathered.place.split()[-1])}
    absent = [name for name in (*languages, *tasks) if name not in there]
    for file in files:
        lines = [line.removesuffix("\r") for line in lines_of_text(read_text(file))]
        found.append(Gathered(str(file), [line for line in lines if line.strip()]))
    if absent and not (files and not tasks):
        raise UserError(
            f"there is no text of {absent[0]!r}",
            "--tasks, --languages",
            "give --data, see 'metaxcr tasks ls'",
        )
    return found
