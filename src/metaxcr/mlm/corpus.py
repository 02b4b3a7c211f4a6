"""Text to train a language adapter on: documents, held-out parts, packed sequences, whole-word masks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import langcodes
import numpy as np

from metaxcr.data.corpora import corpus_spec, load_text
from metaxcr.data.rows import Defect, lines_of
from metaxcr.data.spec import Corpus
from metaxcr.encoders.encoder import FrozenEncoder, Text, WordTokenizer, WordTokens
from metaxcr.errors import UserError
from metaxcr.seeding import rng

DOCUMENT_LINES = 10  # of a file that does not mark its documents by blank lines
MIN_LINES = 30  # fewer leave no held-out part that says anything
TRAIN_SPLITS = ("dev", "all")  # of the corpora: never a split that measures
# Scripts written without spaces: a "word" between two spaces is a whole clause there.
UNSPACED = {"Hans", "Hant", "Jpan", "Thai", "Laoo", "Khmr", "Mymr", "Tibt"}
MOST_PIECES = 10  # of a word that is masked as a whole; a longer one is an address or unspaced text
NO_UNIT = -1  # of tokens that are never masked
RATE = 0.15  # share of a sequence's tokens to predict
MASKED, RANDOM = 0.8, 0.1  # share of those replaced by the mask token, by a random token; the rest stays


@dataclass(frozen=True)
class Document:
    """Lines that belong together: all of them are trained on, or none."""

    source: str  # the file, or the corpus with its split
    lines: list[str]  # without line ends and blank lines


def documents(source: str, lines: Sequence[str]) -> list[Document]:
    """Group the lines of one file into documents: at blank lines, or every ten lines without any."""
    texts = "\n".join(line.strip() for line in lines).rstrip("\n").split("\n")
    marked = "" in texts
    groups: list[list[str]] = [[]]
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


def hold_out(docs: Sequence[Document], share: float, seed: int) -> tuple[dict[str, list[str]], int]:
    """Divide documents into training text and two held-out parts with about ``share`` of the lines each.

    The seed alone decides which documents are held out; each part is in the order of ``docs``.

    Returns:
        The lines of ``train``, of ``stop``, which decides when training stops, and of ``test``, only for the
        reported loss; and how many were left out of ``train`` because another part has them.

    Raises:
        UserError: There is too little text.
    """
    place, total = "--text, --corpus", sum(len(d.lines) for d in docs)
    if total < MIN_LINES or len(docs) < 3:
        fix = f"give at least {MIN_LINES} lines and three documents (blank lines separate documents)"
        raise UserError(f"too little text: {total} lines in {len(docs)} documents", place, fix)
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
    test = set(lines["test"])
    before, held_out = len(lines["train"]), test.union(lines["stop"])
    lines["train"] = [line for line in lines["train"] if line not in held_out]
    lines["stop"] = [line for line in lines["stop"] if line not in test]
    if not all(lines.values()):
        raise UserError("too little text: after removing repeated lines a part is empty", place, "give more")
    return lines, before - len(lines["train"])


class Frame(NamedTuple):
    """The ids around the text of every sequence, which are never masked, and that of the mask token."""

    before: list[int]  # special tokens and the encoder's prefix
    after: list[int]
    mask: int

    @property
    def separator(self) -> int:
        """The token between two sentences: the one that ends a text."""
        return self.after[-1]


def _word_tokenizer(encoder: FrozenEncoder) -> WordTokenizer:
    if not isinstance(encoder.tokenizer, WordTokenizer):
        what = f"the tokenizer of {encoder.name} does not know where words begin"
        raise UserError(what, "--encoder", "whole words are masked: use an encoder with a fast tokenizer")
    return encoder.tokenizer


def frame(encoder: FrozenEncoder) -> Frame:
    """The encoder's special tokens and prefix around a text.

    Raises:
        UserError: The tokenizer does not know words, has no mask token, or ends a text with no special token.
    """
    tokenizer, prefix = _word_tokenizer(encoder), encoder.prefix.strip()
    name = f"the tokenizer of {encoder.name}"
    if tokenizer.mask_id is None:
        raise UserError(f"{name} has no mask token", "--encoder", "use a masked language model")
    probe = tokenizer.words([Text(prefix or "a")])[0]
    own = [i for i, word in enumerate(probe.words) if word is not None]
    before = probe.ids[: own[-1] + 1 if prefix else own[0]]
    after = probe.ids[own[-1] + 1 :]
    if not after:
        raise UserError(f"{name} ends a text with no special token", "--encoder")
    return Frame(before, after, tokenizer.mask_id)


def has_spaces(language: str) -> bool:
    """Whether a language (ISO 639 code) is written with spaces between words."""
    return langcodes.Language.get(language).maximize().script not in UNSPACED


def tokenize_lines(encoder: FrozenEncoder, lines: Sequence[str], *, whole_words: bool) -> list[WordTokens]:
    """Tokenise lines, without special tokens and prefix: ids and units, which are masked as a whole.

    With ``whole_words`` a unit is a word of at most :data:`MOST_PIECES` tokens; any other token is a unit of
    its own. Units count from 0 in each line; lines without a token are left out.
    """
    tokenised = []
    for ids, words in _word_tokenizer(encoder).words([Text(line) for line in lines]):
        kept, units, last, unit, sizes = [], [], None, -1, Counter(words)
        for token, word in zip(ids, words, strict=True):
            if word is not None:
                unit += word != last or not whole_words or sizes[word] > MOST_PIECES
                last = word
                kept.append(token)
                units.append(unit)
        if kept:
            tokenised.append(WordTokens(kept, list(units)))
    return tokenised


class Packed(NamedTuple):
    """One sequence."""

    ids: list[int]  # with special tokens and prefix
    units: list[int]  # of each token; NO_UNIT for special tokens and the prefix


def pack(lines: Sequence[WordTokens], frame: Frame, length: int) -> list[Packed]:
    """Pack lines in order, with separators, into sequences of ``length`` tokens, the frame included.

    No token is lost: a line that does not fit continues in the next sequence. Only the last one is shorter.

    Source:
        Liu et al. 2019 (RoBERTa), section 4.2, FULL-SENTENCES.
    """
    before, after = ([(token, NO_UNIT) for token in ids] for ids in (frame.before, frame.after))
    room = length - len(before) - len(after)
    if room < 1:
        raise ValueError(f"sequences of {length} tokens have no room for text")
    tokens: list[tuple[int, int]] = []  # with their units
    first = 0
    for line in lines:
        if tokens:
            tokens.append((frame.separator, NO_UNIT))
        pairs = zip(line.ids, line.words, strict=True)
        tokens += [(token, first + unit) for token, unit in pairs if unit is not None]
        first = tokens[-1][1] + 1
    packed = []
    for at in range(0, len(tokens), room):
        ids, units = zip(*before, *tokens[at : at + room], *after, strict=True)
        packed.append(Packed(list(ids), list(units)))
    return packed


class Masked(NamedTuple):
    """A masked sequence."""

    ids: list[int]
    places: list[int]  # of the tokens to predict, ascending
    targets: list[int]  # these tokens, as rows of the decoder


def choose(units: Sequence[int], rate: float, draw: np.random.Generator) -> list[int]:
    """Choose whole words until about ``rate`` of the tokens with a unit are chosen.

    Returns:
        Places of the chosen tokens, ascending: at least one word, and otherwise no more than the budget. A
        word that would exceed it is skipped, as in BERT.

    Source:
        Devlin et al. 2019 (BERT), section 3.1, and its whole-word-masking models of May 2019.
    """
    places: dict[int, list[int]] = {}
    for at, unit in enumerate(units):
        if unit != NO_UNIT:
            places.setdefault(unit, []).append(at)
    words = list(places.values())
    budget = round(rate * sum(map(len, words)))
    chosen: list[int] = []
    for n in draw.permutation(len(words)).tolist():
        if not chosen or len(chosen) + len(words[n]) <= budget:
            chosen += words[n]
    return sorted(chosen)


def mask(
    sequence: Packed, mask_id: int, rows: Sequence[int], row_of: dict[int, int], draw: np.random.Generator
) -> Masked:
    """Mask a sequence: of the chosen tokens 80 % become the mask token, 10 % a random one, 10 % stay.

    ``rows`` are the token ids of the decoder, also for random tokens, and ``row_of`` their inverse.
    """
    places = choose(sequence.units, RATE, draw)
    ids = list(sequence.ids)
    fates, others = draw.random(len(places)), draw.integers(len(rows), size=len(places))
    for at, fate, other in zip(places, fates.tolist(), others.tolist(), strict=True):
        if fate < MASKED:
            ids[at] = mask_id
        elif fate < MASKED + RANDOM:
            ids[at] = rows[other]
    return Masked(ids, places, [row_of[sequence.ids[at]] for at in places])
