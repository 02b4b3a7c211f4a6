"""Unlabelled parallel text: the same sentences in several languages, line by line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from metaxcr.errors import UserError
from metaxcr.tasks.example import Example
from metaxcr.tasks.registry import load, task_ids, task_spec
from metaxcr.tasks.roots import candidate_roots

CORPORA = Path(__file__).parent / "corpora"
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
        corpus: Plain text declared under ``tasks/corpora``, or a parallel task, whose contexts and choices
            are then taken without their labels.
        split: Of the corpus; ``"dev"`` or ``"devtest"`` for FLORES-200.
        languages: ISO 639-1 codes; English is read in any case.
        root: Data root; default: see :func:`metaxcr.tasks.roots.candidate_roots`.

    Raises:
        UserError: The corpus, split, language or a file is unknown or missing, or the languages differ in
            length.
    """
    wanted = list(dict.fromkeys(["en", *languages]))
    declaration = CORPORA / f"{corpus}.yaml"
    if declaration.is_file():
        read = _plain_text(yaml.safe_load(declaration.read_text(encoding="utf-8")), split, wanted, root)
    elif corpus in task_ids() and task_spec(corpus).parallel:
        read = _task_text(corpus, split, wanted, root)
    else:
        known = sorted(p.stem for p in CORPORA.glob("*.yaml")) + [
            t for t in task_ids() if task_spec(t).parallel
        ]
        raise UserError(f"unknown parallel corpus {corpus!r}", PLACE, f"known: {', '.join(known)}")
    if len({len(lines) for lines in read.sentences.values()}) > 1:
        sizes = ", ".join(f"{language} {len(lines)}" for language, lines in read.sentences.items())
        raise UserError(f"the languages of {corpus} differ in length ({sizes})", str(read.files[0].parent))
    return read


def _plain_text(spec: dict[str, Any], split: str, languages: list[str], root: Path | None) -> ParallelCorpus:
    if split not in spec["splits"]:
        raise UserError(f"{spec['id']} has no split {split!r}", PLACE, f"it has {', '.join(spec['splits'])}")
    unknown = [language for language in languages if language not in spec["languages"]]
    if unknown:
        raise UserError(f"{spec['id']} has no {unknown[0]!r}", PLACE, f"it has {' '.join(spec['languages'])}")
    files, sentences = [], {}
    for language in languages:
        path = _find(spec["splits"][split].format(code=spec["languages"][language]), root, spec["url"])
        files.append(path)
        sentences[language] = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    return ParallelCorpus(sentences, files, [])


def _task_text(task: str, split: str, languages: list[str], root: Path | None) -> ParallelCorpus:
    loaded = {language: load(task, split, language=language, root=root) for language in languages}
    sentences = {
        language: [text for e in part.examples for text in (e.context, *e.choices)]
        for language, part in loaded.items()
    }
    files = [file for part in loaded.values() for file in part.files]
    return ParallelCorpus(sentences, files, [e for part in loaded.values() for e in part.examples])


def _find(name: str, root: Path | None, url: str) -> Path:
    candidates = [candidate / name for candidate in candidate_roots(root)]
    for path in candidates:
        if path.is_file():
            return path
    raise UserError(
        f"the file {name} is missing", ", ".join(map(str, candidates)) or "no data root", f"see {url}"
    )
