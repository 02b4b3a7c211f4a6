"""Text to train a language adapter on, and the parts of it that are held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metaxcr.data.corpora import corpus_spec, load_text
from metaxcr.data.rows import Defect, lines_of
from metaxcr.data.spec import Corpus
from metaxcr.errors import UserError
from metaxcr.seeding import rng

DOCUMENT_LINES = 10  # of a file that does not mark its documents by blank lines
MIN_LINES = 30  # fewer leave no held-out part that says anything
TRAIN_SPLITS = ("dev", "all")  # of the corpora: never a split that measures


@dataclass(frozen=True)
class Document:
    """Lines that belong together: all of them are trained on, or none."""

    source: str  # the file, or the corpus with its split
    lines: list[str]  # without line ends and blank lines


@dataclass(frozen=True)
class Parts:
    """Text cut by document."""

    train: list[str]
    stop: list[str]  # decides when training stops
    test: list[str]  # only for the reported loss
    dropped: int  # lines left out of ``train`` because another part has them


def documents(source: str, lines: Sequence[str]) -> list[Document]:
    """Group the lines of one file into documents: at blank lines, or every ten lines without any."""
    texts = [line.strip() for line in lines]
    while texts and not texts[-1]:
        texts.pop()
    groups: list[list[str]] = [[]]
    marked = "" in texts
    for text in texts:
        if not text or (not marked and len(groups[-1]) == DOCUMENT_LINES):
            groups.append([])
        if text:
            groups[-1].append(text)
    return [Document(source, group) for group in groups if group]


def read_file(path: Path) -> list[Document]:
    """Read a UTF-8 text file, a sentence or paragraph a line; UserError if that fails or it is empty."""
    lines: list[str] = []
    for number, line in lines_of(path):
        if isinstance(line, Defect):
            raise UserError(line.what, f"{path}:{number}", line.fix)
        lines += [""] * (number - 1 - len(lines)) + [line]
    found = documents(path.name, lines)
    if not found:
        raise UserError("the file is empty", str(path), "give a text file, a sentence or paragraph a line")
    return found


def read_corpus(name: str, language: str, root: Path | None = None) -> tuple[Corpus, list[Document]]:
    """Read the training split of a declared corpus (``flores200``, ``udhr``): declaration and documents.

    Raises:
        UserError: There is no such corpus, no such language in it, or the file is missing.
    """
    declared = corpus_spec(name)
    split = next((s for s in TRAIN_SPLITS if s in declared.splits), None)
    if split is None or declared.kind == "lexicon":
        raise UserError(f"'{name}' is not a text to train on", "--corpus", "use flores200, udhr or --text")
    text = load_text(name, language, split, root=root, place="--corpus")
    return declared, documents(f"{name} {split}", text.lines)


def cut(docs: Sequence[Document], share: float, seed: int) -> Parts:
    """Cut documents into training text and two held-out parts with about ``share`` of the lines each.

    The seed alone decides which documents are held out; each part is in the order of ``docs``.

    Raises:
        UserError: There is too little text.
    """
    total = sum(len(d.lines) for d in docs)
    if total < MIN_LINES or len(docs) < 3:
        raise UserError(
            f"too little text: {total} lines in {len(docs)} documents",
            "--text, --corpus",
            f"give at least {MIN_LINES} lines and three documents (blank lines separate documents)",
        )
    where = {}
    order = rng(seed, "language/held-out").permutation(len(docs)).tolist()
    for part in ("stop", "test"):
        taken = 0
        while taken < share * total and len(order) > 1:
            where[order[-1]] = part
            taken += len(docs[order.pop()].lines)
    lines: dict[str, list[str]] = {"train": [], "stop": [], "test": []}
    for n, doc in enumerate(docs):
        lines[where.get(n, "train")] += doc.lines
    held_out = {*lines["stop"], *lines["test"]}
    train = [line for line in lines["train"] if line not in held_out]
    stop = [line for line in lines["stop"] if line not in set(lines["test"])]
    if not train or not stop or not lines["test"]:
        raise UserError(
            "too little text: after removing repeated lines a part is empty", "--text, --corpus", "give more"
        )
    return Parts(train, stop, lines["test"], len(lines["train"]) - len(train))
