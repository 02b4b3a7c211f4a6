"""The one shape that every data set is brought into, and few examples of a set: shots, and parts of it.

Shots are labelled examples of a target, drawn at random or named by item id.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from metaxcr.errors import UserError
from metaxcr.parse import lines_of_text, parse_json, read_text
from metaxcr.seeding import derive

# effect: the context leads to the choice; cause: the choice leads to the context; answer: no direction;
# none: there is no context, so only cross scoring applies.
Relation = Literal["effect", "cause", "answer", "none"]


@dataclass(frozen=True, slots=True)
class Example:
    """One question with its choices, as the data set states it.

    For a task of polarity ``implausible`` the label names the choice that is *least* plausible.
    """

    id: str  # unique within a split; the same in all languages of a parallel set
    context: str  # premise, situation, story so far, or sentence with a blank; may be empty
    question: str  # "cause", "effect", a question in words, or empty
    choices: tuple[str, ...]  # two or more
    label: int | None  # 0-based index of the right choice, whatever the file says; None: not given
    language: str  # ISO 639-1
    task: str


@dataclass(frozen=True, slots=True)
class Phrased:
    """An example in the words that are put before the encoder; the context is empty for relation ``none``."""

    context: str
    choices: tuple[str, ...]
    relation: Relation


def inline_example(position: int, given: Mapping[str, Any]) -> Example:
    """Check one element of :meth:`MetaXCR.rank_many` and turn it into an example.

    Its position, from 0, is the example's id and its name in messages.
    """
    where, required = f"example {position}", {"context", "choices", "language"}
    unknown, missing = given.keys() - required - {"question"}, required - given.keys()
    if unknown or missing:
        what = f"{'unknown' if unknown else 'missing'} {', '.join(sorted(unknown or missing))}"
        raise UserError(what, where, "give context, choices, language and perhaps question")
    choices = given["choices"]
    if isinstance(choices, str) or len(choices) < 2:
        raise UserError("two or more choices are needed", where, 'write choices=["one", "another"]')
    texts = [given["context"], *choices]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise UserError("context and choices must be texts that are not empty", where)
    context, *rest = (text.strip() for text in texts)
    question = (given.get("question") or "").strip()
    return Example(str(position), context, question, tuple(rest), None, given["language"], "rank")


def phrase_inline(example: Example) -> Phrased:
    """Put an inline question into words, as the causal and the question-answering tasks do."""
    if example.question in ("cause", "effect"):
        return Phrased(example.context, example.choices, example.question)  # type: ignore[arg-type]
    return Phrased(f"{example.context} {example.question}".strip(), example.choices, "answer")


def draw_shots(examples: Sequence[Example], k: int, seed: int) -> list[str]:
    """Draw k item ids, as many of each question type as its share allows, in drawing order.

    Only the ids, the question types and (seed, "shots") matter, so a parallel set gives the same ids in every
    language and whatever the order of the file; draw from repaired data, where the types agree. Draws are
    nested: the first 8 of 16 shots are the 8 shots of the same seed, and the two halves of a draw have the
    same mix of types.
    """
    if not 0 <= k <= len(examples):
        raise UserError(f"{k} shots from {len(examples)} examples", "shots", f"choose 0 to {len(examples)}")
    return [example.id for example in _stratified(examples, seed, "shots")[:k]]


def split_target(
    examples: Sequence[Example], parts: Mapping[str, float], seed: int
) -> dict[str, list[Example]]:
    """Cut the English target data into parts that never overlap, such as source, query and reward.

    ``parts`` maps names to shares of the examples, in (0, 1]; shares sum to at most 1, the rest stays unused.
    Question types are spread evenly.
    """
    if any(share <= 0 for share in parts.values()) or sum(parts.values()) > 1 + 1e-9:
        what = f"shares {dict(parts)} do not fit into 1"
        raise UserError(what, "target split", "use positive shares, sum <= 1")
    order = _stratified(examples, seed, "target-split")
    ends = [round(total * len(order)) for total in accumulate(parts.values())]
    cut = {name: order[start:end] for name, start, end in zip(parts, [0, *ends], ends, strict=False)}
    for name, part in cut.items():
        if not part:
            what = f"part '{name}' of {len(order)} examples is empty"
            raise UserError(what, "target split", "raise its share")
    return cut


def _stratified(examples: Sequence[Example], seed: int, purpose: str) -> list[Example]:
    """Order all examples so that every prefix holds the question types in proportion.

    Within a type the order is by a hash of the id. The next type is chosen by Webster's method (largest n /
    (2a + 1) with n examples, a of them taken): unlike largest remainders, it never removes one as the prefix
    grows.
    """
    if len({example.id for example in examples}) != len(examples):
        raise UserError("an id occurs twice among the examples", purpose, "pass one split in one language")
    strata: dict[str, list[Example]] = {}
    for example in sorted(examples, key=lambda e: (derive(seed, f"{purpose}/{e.id}"), e.id)):
        # questions in words are all different: only cause and effect are types of their own
        kind = example.question if example.question in ("cause", "effect") else ""
        strata.setdefault(kind, []).append(example)
    places = [(kind, a) for kind, members in strata.items() for a in range(len(members))]
    places.sort(key=lambda place: (-len(strata[place[0]]) / (2 * place[1] + 1), place[0]))
    return [strata[kind][a] for kind, a in places]


def read_shots(path: Path, task: str, seeds: Sequence[int]) -> dict[int, list[str]]:
    """Read item ids that serve as shots (seed -> ids), so that two systems can be compared on the same ones.

    The path is a run folder or its folder ``shots``, which names files after the task; or a file: one of that
    folder's, a JSON object (seed -> ids), a JSON list of ids, or text with one id a line. A file without
    seeds holds for every seed. Every seed needs the same number of shots, at least two.
    """
    if os.path.isdir(path):
        folder = path / "shots" if (path / "shots").is_dir() else path
        files = {seed: folder / f"{task}.seed{seed}.json" for seed in seeds}
        by_seed = {seed: _read_ids(file, [seed])[seed] for seed, file in files.items() if file.is_file()}
        _check_seeds(by_seed, seeds, str(folder), f"there is no file {task}.seed{{}}.json")
    else:
        by_seed = _read_ids(path, seeds)
    sizes = sorted({len(ids) for ids in by_seed.values()})
    if len(sizes) > 1:
        what = f"the seeds have {sizes[0]} to {sizes[-1]} shots"
        raise UserError(what, str(path), "give all the same number")
    return by_seed


def check_shots(shots: Mapping[int, Sequence[str]], known: Collection[str], where: str) -> None:
    """Raise a UserError where shots (seed -> ids) are not among the ids of the split they are taken from."""
    unknown = list(dict.fromkeys(i for ids in shots.values() for i in ids if i not in known))
    if unknown:
        named = ", ".join(map(repr, unknown[:3])) + (f" and {len(unknown) - 3} more" if unknown[3:] else "")
        some = next(iter(known), "")
        raise UserError(f"shots that are not in the split: {named}", where, f"its ids look like {some!r}")


def shots_digest(shots: Mapping[int, Sequence[str]]) -> str:
    """Digest the ids of all seeds, whatever file they came from: SHA-256, 64 hexadecimal digits."""
    text = json.dumps({str(seed): list(ids) for seed, ids in sorted(shots.items())})
    return hashlib.sha256(text.encode()).hexdigest()


def _read_ids(file: Path, seeds: Sequence[int]) -> dict[int, list[str]]:
    try:
        text = read_text(file)
    except UserError as error:
        fix = "give a file of item ids"
        raise UserError(f"cannot read the shots: {error.what}", error.where, fix) from error
    value: Any = [line for found in lines_of_text(text) if (line := found.strip(" \t\r"))]
    if file.suffix == ".json" or text.lstrip().startswith(("{", "[")):
        value = parse_json(text, str(file), "write a list of item ids")
    if isinstance(value, dict) and "ids" in value:
        value = value["ids"]
    if isinstance(value, dict):
        _check_seeds(value, [str(seed) for seed in seeds], str(file), "it has no key '{}'")
        return {seed: _checked_ids(value[str(seed)], file) for seed in seeds}
    ids = _checked_ids(value, file)
    return {seed: list(ids) for seed in seeds}


def _check_seeds(found: Collection[Any], seeds: Sequence[Any], where: str, missing: str) -> None:
    without = [seed for seed in seeds if seed not in found]
    if without:
        fix = f"{missing.format(without[0])}; run other seeds, or give a list of ids for all of them"
        raise UserError(f"seed {without[0]} has no shots", where, fix)


def _checked_ids(value: Any, file: Path) -> list[str]:
    if not isinstance(value, list) or not all(type(i) in (str, int) for i in value):
        fix = 'write ["first id", "second id", ...]'
        raise UserError("the shots are not a list of item ids", str(file), fix)
    ids = [str(i) for i in value]
    repeated = [i for i, count in Counter(ids).items() if count > 1]
    if repeated:
        raise UserError(f"the shot {repeated[0]!r} is named twice", str(file), "keep one of them")
    if len(ids) < 2:
        raise UserError(f"{len(ids)} shots", str(file), "name two or more")
    return ids
