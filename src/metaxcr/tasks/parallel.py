"""Unlabelled parallel text: the same sentences in several languages, line by line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from metaxcr.errors import UserError
from metaxcr.tasks.roots import candidate_roots

CORPORA = Path(__file__).parent / "corpora"


@dataclass(frozen=True)
class ParallelCorpus:
    """Sentences in several languages.

    Attributes:
        sentences: Language -> its sentences; line n says the same in all of them.
        files: What was read.
    """

    sentences: dict[str, list[str]]
    files: list[Path]


def load_parallel(
    corpus: str, split: str, languages: Sequence[str], *, root: Path | None = None
) -> ParallelCorpus:
    """Read English and other languages of a parallel corpus.

    Args:
        corpus: Its id, a file under ``tasks/corpora``.
        split: ``"dev"`` or ``"devtest"`` for FLORES-200.
        languages: ISO 639-1 codes; English is read in any case.
        root: Data root; default: see :func:`metaxcr.tasks.roots.candidate_roots`.

    Raises:
        UserError: The corpus, split, language or a file is unknown or missing, or the files differ in length.
    """
    declaration = CORPORA / f"{corpus}.yaml"
    if not declaration.is_file():
        known = ", ".join(sorted(p.stem for p in CORPORA.glob("*.yaml")))
        raise UserError(f"unknown parallel corpus {corpus!r}", "target.parallel.corpus", f"known: {known}")
    spec = yaml.safe_load(declaration.read_text(encoding="utf-8"))
    if split not in spec["splits"]:
        raise UserError(
            f"{corpus} has no split {split!r}", "target.parallel.split", ", ".join(spec["splits"])
        )
    files, sentences = [], {}
    for language in dict.fromkeys(["en", *languages]):
        if language not in spec["languages"]:
            known = " ".join(spec["languages"])
            raise UserError(f"{corpus} has no {language!r}", "target.parallel.languages", f"it has {known}")
        path = _find(spec["splits"][split].format(code=spec["languages"][language]), root, spec["url"])
        files.append(path)
        sentences[language] = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    if len({len(lines) for lines in sentences.values()}) > 1:
        sizes = ", ".join(f"{language} {len(lines)}" for language, lines in sentences.items())
        raise UserError(
            f"the files of {corpus} differ in length ({sizes})", str(files[0].parent), "fetch them anew"
        )
    return ParallelCorpus(sentences, files)


def _find(name: str, root: Path | None, url: str) -> Path:
    candidates = [candidate / name for candidate in candidate_roots(root)]
    for path in candidates:
        if path.is_file():
            return path
    raise UserError(
        f"the file {name} is missing", ", ".join(map(str, candidates)) or "no data root", f"see {url}"
    )
