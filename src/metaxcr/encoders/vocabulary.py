"""The rows of a vocabulary that a text needs, and a tokenizer of these alone that cuts the text alike.

What else stays: special tokens, and all pieces of one character, so that any other text still has tokens.

Why the pieces stay the same. *Unigram* takes the segmentation with the highest score. The chosen one is still
there, and there are no new rivals: a character is unknown where it was before, and at the same score, because
the piece with the lowest score stays, too. *WordPiece* takes the longest piece, again and again: the longest
one is still there. A word that gets stuck half-way is unknown as a whole; the pieces on the way to where it
gets stuck stay, so that it gets stuck again.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from metaxcr.errors import UserError

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
Pieces = Sequence[tuple[str, float]]


def unigram_rows(pieces: Pieces, used: Iterable[int], unknown: int | None) -> set[int]:
    """Ids that a Unigram vocabulary needs.

    Args:
        pieces: All pieces with their log probabilities, in id order.
        used: Ids that the text has.
        unknown: Id of the unknown token.
    """
    single = (i for i, (piece, _) in enumerate(pieces) if len(piece) == 1 or _BYTE.fullmatch(piece))
    lowest = min(range(len(pieces)), key=lambda i: pieces[i][1])
    return {*used, *single, lowest, *([] if unknown is None else [unknown])}


def wordpiece_rows(model: Mapping[str, Any], used: Iterable[int], words: Iterable[str]) -> set[int]:
    """Ids that a WordPiece vocabulary needs.

    Args:
        model: As in tokenizer.json.
        used: Ids that the text has.
        words: What the text's words are before they are cut.
    """
    vocabulary, prefix = model["vocab"], model["continuing_subword_prefix"]
    single = (i for piece, i in vocabulary.items() if len(piece.removeprefix(prefix)) == 1)
    kept = {*used, *single, vocabulary[model["unk_token"]]}
    for word in set(words):
        kept.update(_longest_first(word, vocabulary, prefix))
    return kept


def _longest_first(word: str, vocabulary: Mapping[str, int], prefix: str) -> Iterator[int]:
    """Ids of the pieces of a word, as far as there are any."""
    begin = 0
    while begin < len(word):
        starts = prefix if begin else ""
        ends = (e for e in range(len(word), begin, -1) if starts + word[begin:e] in vocabulary)
        end = next(ends, None)
        if end is None:
            return
        yield vocabulary[starts + word[begin:end]]
        begin = end


def trim_tokenizer(fast: Tokenizer, texts: Sequence[str], name: str) -> tuple[Tokenizer, list[int]]:
    """Make a smaller tokenizer that gives the same pieces for texts.

    Args:
        fast: The tokenizer.
        texts: What has to stay the same.
        name: Of the encoder, for the message.

    Returns:
        The smaller tokenizer, and the old id of each of its ids, ascending.

    Raises:
        UserError: It is no Unigram or WordPiece tokenizer.
    """
    settings = json.loads(fast.to_str())
    model, added = settings["model"], [token["id"] for token in settings["added_tokens"]]
    used = {i for encoding in fast.encode_batch(list(texts)) for i in encoding.ids}
    used |= {*added, *_template_ids(settings["post_processor"])}
    if model["type"] == "Unigram":
        rows = unigram_rows(model["vocab"], used, model["unk_id"])
    elif model["type"] == "WordPiece":
        rows = wordpiece_rows(model, used, _words(fast, texts))
    else:
        raise UserError(
            f"the vocabulary of {name!r} cannot be trimmed: its tokenizer is of the kind {model['type']}",
            "encoders trim",
            "Unigram (XLM-R, mDeBERTa, MiniLM, embedded) and WordPiece (mBERT, DistilmBERT) can",
        )
    kept = sorted(rows)
    place = {old: new for new, old in enumerate(kept)}
    if model["type"] == "Unigram":
        size = len(model["vocab"])
        model["vocab"] = [model["vocab"][old] for old in kept if old < size]
        model["unk_id"] = place.get(model["unk_id"])
    else:
        model["vocab"] = {piece: place[old] for piece, old in model["vocab"].items() if old in place}
    for token in settings["added_tokens"]:
        token["id"] = place[token["id"]]
    _replace_template_ids(settings["post_processor"], place)
    settings["truncation"] = settings["padding"] = None
    return Tokenizer.from_str(json.dumps(settings)), kept


def _words(fast: Tokenizer, texts: Iterable[str]) -> set[str]:
    """The words of texts as the model gets them."""
    words: set[str] = set()
    for text in texts:
        normal = fast.normalizer.normalize_str(text) if fast.normalizer else text
        cut = fast.pre_tokenizer.pre_tokenize_str(normal) if fast.pre_tokenizer else [(normal, (0, 0))]
        words.update(word for word, _ in cut)
    return words


def _processors(processor: Mapping[str, Any] | None) -> Iterator[Any]:
    """A post-processor, or all in a sequence of them."""
    if processor is not None:
        yield from processor["processors"] if processor["type"] == "Sequence" else [processor]


def _template_ids(processor: Mapping[str, Any] | None) -> Iterator[int]:
    """Ids that a post-processor puts in."""
    for one in _processors(processor):
        for token in one.get("special_tokens", {}).values():
            yield from token["ids"]
        for end in ("cls", "sep"):
            if end in one:
                yield one[end][1]


def _replace_template_ids(processor: Mapping[str, Any] | None, place: Mapping[int, int]) -> None:
    for one in _processors(processor):
        for token in one.get("special_tokens", {}).values():
            token["ids"] = [place[old] for old in token["ids"]]
        for end in ("cls", "sep"):
            if end in one:
                one[end][1] = place[one[end][1]]
