"""Smaller encoders: only the vocabulary rows that some text uses, and the same outputs on that text.

Most parameters of a multilingual encoder are embeddings of words in a hundred languages. A folder with those
of a few languages loads faster and takes less memory (Abdaoui et al. 2020, SustaiNLP, Load What You Need:
Smaller Versions of Multilingual BERT). Special tokens and all pieces of one character stay, too, so that any
other text still has tokens.

Why a text keeps its pieces. *Unigram* takes the segmentation with the highest score. That segmentation is
still possible, and there are no new ones: a character is unknown where it was before, and at the same score,
because the piece with the lowest score stays. *WordPiece* repeatedly takes the longest piece, which is still
there. A word that has no complete segmentation is unknown as a whole; the pieces before the place where it
fails stay, so that it fails again.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedTokenizerFast

from metaxcr.data import corpora
from metaxcr.data.phrasing import phrase
from metaxcr.data.registry import load, missing_files, task_ids, task_spec
from metaxcr.encoders import embedded
from metaxcr.encoders.encoder import FrozenEncoder, Text
from metaxcr.encoders.families.family import check_family
from metaxcr.encoders.loading import EMBEDDED, NOTES, find_commit, load_encoder, read_encoder
from metaxcr.encoders.shapes import parse_random_name
from metaxcr.encoders.tokens import UNLIMITED
from metaxcr.errors import UserError
from metaxcr.files import remove_leftovers, temporary_path
from metaxcr.parse import lines_of_text, read_text

COMMAND = "encoders trim"
CHECKED_TEXTS = 64  # whose vectors are compared before the new folder appears
SPECIAL = ("pad", "bos", "eos", "cls", "sep", "mask", "unk")
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True)
class TrimResult:
    """Sizes before and after."""

    encoder: str  # name of the original encoder
    texts: int  # number of different texts whose pieces were kept
    rows: tuple[int, int]  # rows of the word embeddings, before and after
    parameters: tuple[int, int]  # before and after
    bytes: int  # of the new folder


def trim_encoder(name: str, texts: Iterable[str], out: Path, *, revision: str | None = None) -> TrimResult:
    """Write a smaller encoder to a new folder; see :func:`metaxcr.encoders.loading.load_encoder`.

    ``texts`` have the same outputs as before; any other text is cut into more and shorter pieces.
    """
    if parse_random_name(name) is not None:
        raise UserError(f"{name!r} has no vocabulary to trim", COMMAND, "random encoders hash their words")
    distinct = sorted(set(texts))
    if not distinct:
        raise UserError("there is no text to keep the vocabulary of", COMMAND, "add --text FILE")
    if out.exists():
        raise UserError("the folder exists", str(out), "choose another --out")
    commit = None if name == EMBEDDED else find_commit(name, revision)
    original = load_encoder(name, revision=commit)
    prefix = original.prefix
    needed = [*distinct, *(prefix + text for text in distinct)] if prefix else distinct
    temporary = temporary_path(out)
    remove_leftovers(out.parent, out.name)
    try:
        temporary.mkdir(parents=True)
        kept = _write(name, commit, needed, temporary)
        notes = {"trimmed_from": name, "revision": commit, "prefix": prefix, "texts": len(distinct)}
        (temporary / NOTES).write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
        small = load_encoder(str(temporary))
        _check(original, small, kept, distinct)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return TrimResult(
        name,
        len(distinct),
        (original.vocabulary, small.vocabulary),
        (original.parameters, small.parameters),
        sum(file.stat().st_size for file in out.iterdir()),
    )


def _write(name: str, commit: str | None, texts: Sequence[str], folder: Path) -> list[int]:
    """Write tokenizer and model; return the old id of each row that stays."""
    if name == EMBEDDED:
        file = embedded.parse(embedded.read_verified(embedded.locate()))
        model, kept = embedded.build_model(file), _trim_embedded(file.vocabulary, texts, folder)
    elif embedded.is_trimmed(Path(name)):
        model, _ = read_encoder(name, None, with_tokenizer=False)
        kept = _trim_embedded(embedded.read_vocabulary(Path(name)), texts, folder)
    else:
        model, tokenizer = read_encoder(name, commit)
        backend, kept = trim_tokenizer(tokenizer.backend_tokenizer, texts, name)
        _save_tokenizer(tokenizer, backend, folder)
    _keep_rows(model, kept, name)
    model.save_pretrained(folder)
    return kept


def _trim_embedded(vocabulary: embedded.Vocabulary, texts: Sequence[str], folder: Path) -> list[int]:
    tokenizer = embedded.EmbeddedTokenizer(vocabulary)
    used = {i for t in tokenizer([Text(text) for text in texts], UNLIMITED) for i in t.ids}
    special = {i for i, (piece, _) in enumerate(vocabulary.pieces) if piece in embedded.SPECIAL}
    kept = sorted(unigram_rows(vocabulary.pieces, used | special, embedded.UNKNOWN))
    embedded.write_vocabulary(vocabulary._replace(pieces=[vocabulary.pieces[i] for i in kept]), folder)
    return kept


def _save_tokenizer(tokenizer: Any, backend: Any, folder: Path) -> None:
    """Write the smaller tokenizer as a plain fast one, whatever class the original has."""
    special = {f"{kind}_token": getattr(tokenizer, f"{kind}_token", None) for kind in SPECIAL}
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        split_special_tokens=tokenizer.split_special_tokens,
        **{kind: token for kind, token in special.items() if token is not None},
    ).save_pretrained(folder)


def _keep_rows(model: Any, kept: list[int], name: str) -> None:
    """Reduce a model's word embeddings to some rows."""
    place = {old: new for new, old in enumerate(kept)}
    config = model.config
    pad = config.pad_token_id
    if check_family(name, config).first_position(config) and place.get(pad) != pad:
        raise UserError(f"the padding token of {name!r} would move, and the positions with it", COMMAND)
    words = model.get_input_embeddings().weight.detach()[torch.tensor(kept)].clone()
    model.set_input_embeddings(nn.Embedding(len(words), words.shape[1], _weight=words))
    config.vocab_size = len(kept)
    for kind in SPECIAL:
        old = getattr(config, f"{kind}_token_id", None)
        if isinstance(old, int):
            setattr(config, f"{kind}_token_id", place.get(old))


def _check(original: FrozenEncoder, small: FrozenEncoder, kept: list[int], texts: list[str]) -> None:
    """Compare the token ids of all texts, and the vectors of some."""
    place = {old: new for new, old in enumerate(kept)}
    prefixed = original.prefixed([Text(text) for text in texts])
    tokenized = [encoder.tokenizer(prefixed, UNLIMITED) for encoder in (original, small)]
    for text, old, new in zip(texts, *tokenized, strict=True):
        if [place[i] for i in old.ids] != new.ids or old.segments != new.segments:
            raise AssertionError(f"the trimmed tokenizer gives other tokens for {text[:80]!r}")
    some = [Text(text) for text in texts[:: max(1, len(texts) // CHECKED_TEXTS)]]
    limit, both = min(128, original.max_positions), (original, small)
    outputs = [e.run(e.embed(e.tokenize(some, limit)), 0, e.depth, torch.float32) for e in both]
    if not torch.equal(*outputs):
        raise AssertionError("the trimmed encoder's outputs differ")


def trim_tokenizer(fast: Tokenizer, texts: Sequence[str], name: str) -> tuple[Tokenizer, list[int]]:
    """Make a smaller tokenizer that gives the same pieces for texts; return it and the old id of each new id.

    A UserError if it is no Unigram or WordPiece tokenizer.
    """
    settings = json.loads(fast.to_str())
    model, added = settings["model"], [token["id"] for token in settings["added_tokens"]]
    used = {i for encoding in fast.encode_batch(list(texts)) for i in encoding.ids}
    used |= {*added, *_template_ids(settings["post_processor"])}
    vocabulary = model["vocab"]
    if model["type"] == "Unigram":
        kept = sorted(unigram_rows(vocabulary, used, model["unk_id"]))
        place = {old: new for new, old in enumerate(kept)}
        model["vocab"] = [vocabulary[old] for old in kept if old < len(vocabulary)]
        model["unk_id"] = place.get(model["unk_id"])
    elif model["type"] == "WordPiece":
        kept = sorted(wordpiece_rows(model, used, _words(fast, texts)))
        place = {old: new for new, old in enumerate(kept)}
        model["vocab"] = {piece: place[old] for piece, old in vocabulary.items() if old in place}
    else:
        raise UserError(
            f"the vocabulary of {name!r} cannot be trimmed: its tokenizer is of the kind {model['type']}",
            COMMAND,
            "Unigram (XLM-R, mDeBERTa, MiniLM, embedded) and WordPiece (mBERT, DistilmBERT) can",
        )
    for token in settings["added_tokens"]:
        token["id"] = place[token["id"]]
    _template_ids(settings["post_processor"], place)
    settings["truncation"] = settings["padding"] = None
    return Tokenizer.from_str(json.dumps(settings)), kept


def unigram_rows(pieces: Sequence[tuple[str, float]], used: Iterable[int], unknown: int | None) -> set[int]:
    """Ids that a Unigram vocabulary of (piece, log probability) in id order needs for the ids of a text."""
    single = (i for i, (piece, _) in enumerate(pieces) if len(piece) == 1 or _BYTE.fullmatch(piece))
    lowest = min(range(len(pieces)), key=lambda i: pieces[i][1])
    return {*used, *single, lowest, *([] if unknown is None else [unknown])}


def wordpiece_rows(model: Mapping[str, Any], used: Iterable[int], words: Iterable[str]) -> set[int]:
    """Ids that a WordPiece model (as in tokenizer.json) needs for the ids and the uncut words of a text."""
    vocabulary, prefix = model["vocab"], model["continuing_subword_prefix"]
    single = (i for piece, i in vocabulary.items() if len(piece.removeprefix(prefix)) == 1)
    kept = {*used, *single, vocabulary[model["unk_token"]]}
    for word in set(words):
        kept.update(_longest_first(word, vocabulary, prefix))
    return kept


def _longest_first(word: str, vocabulary: Mapping[str, int], prefix: str) -> Iterator[int]:
    """Ids of the pieces of a word, up to the place where none fits."""
    begin = 0
    while begin < len(word):
        starts = prefix if begin else ""
        ends = (e for e in range(len(word), begin, -1) if starts + word[begin:e] in vocabulary)
        end = next(ends, None)
        if end is None:
            return
        yield vocabulary[starts + word[begin:end]]
        begin = end


def _words(fast: Tokenizer, texts: Iterable[str]) -> set[str]:
    """The words of texts as the model gets them."""
    normal = (fast.normalizer.normalize_str(text) if fast.normalizer else text for text in texts)
    if fast.pre_tokenizer is None:
        return set(normal)
    return {word for text in normal for word, _ in fast.pre_tokenizer.pre_tokenize_str(text)}


def _template_ids(processor: Mapping[str, Any] | None, place: Mapping[int, int] | None = None) -> set[int]:
    """Ids that a post-processor inserts; with ``place`` they are replaced in it."""
    ids: set[int] = set()
    parts = [] if processor is None else processor.get("processors", [processor])  # a sequence has several
    for one in parts:
        for token in one.get("special_tokens", {}).values():
            ids.update(token["ids"])
            token["ids"] = [place[old] for old in token["ids"]] if place else token["ids"]
        for end in ("cls", "sep"):
            if end in one:
                ids.add(one[end][1])
                one[end][1] = place[one[end][1]] if place else one[end][1]
    return ids


class TextSource(NamedTuple):
    """Contexts and choices of a task, or lines of a corpus; ``place`` is its name, split and language."""

    place: str
    texts: list[str]


def collect_texts(
    tasks: Sequence[str], languages: Sequence[str], files: Sequence[Path] = (), *, root: Path | None = None
) -> list[TextSource]:
    """Collect texts of tasks, of languages and from files with a text a line.

    Without ``tasks``: every task and corpus that is present in ``languages``; without ``languages``: all
    languages of the tasks.
    """
    found = list(_task_texts(tasks or (task_ids() if languages else ()), languages, root))
    if languages and not tasks:
        found += _corpus_texts(languages, root)
    present = {part for source in found for part in (source.place.split()[0], source.place.split()[-1])}
    absent = [name for name in (*languages, *tasks) if name not in present]
    for file in files:
        lines = [line.removesuffix("\r") for line in lines_of_text(read_text(file))]
        found.append(TextSource(str(file), [line for line in lines if line.strip()]))
    if absent and not (files and not tasks):
        where, fix = "--tasks, --languages", "give --data, see 'metaxcr tasks ls'"
        raise UserError(f"there is no text of {absent[0]!r}", where, fix)
    return found


def _task_texts(tasks: Iterable[str], languages: Sequence[str], root: Path | None) -> Iterator[TextSource]:
    """All present splits of tasks, in some languages or, without any, in all."""
    for task in tasks:
        spec = task_spec(task)
        missing = set(missing_files(spec, root))
        for split in spec.splits:
            for language in spec.split_languages(split):
                wanted = not languages or language in languages
                if wanted and not missing.intersection(spec.files_of(split, language)):
                    examples = load(task, split, language=language, root=root).examples
                    phrased = [phrase(example, spec) for example in examples]
                    texts = [part for p in phrased for part in (p.context, *p.choices) if part]
                    yield TextSource(f"{task} {split} {language}", texts)


def _corpus_texts(languages: Sequence[str], root: Path | None) -> Iterator[TextSource]:
    """All present corpora in some languages, except word lists."""
    for name in corpora.corpus_ids():
        declared = corpora.corpus_spec(name)
        if declared.kind == "lexicon":
            continue
        missing = set(missing_files(declared, root))
        for split in declared.splits:
            for language in declared.languages:
                if language in languages and not missing.intersection(declared.files_of(split, language)):
                    lines = corpora.load_text(name, language, split, root=root).lines
                    yield TextSource(f"{name} {split} {language}", [line for line in lines if line])
