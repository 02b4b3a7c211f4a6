"""Whether a file is a translation of COPA: the leak guard must know its items under COPA's numbers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaxcr.errors import UserError
from metaxcr.parse import digits_value
from metaxcr.tasks.adding.declare import body_of, validated
from metaxcr.tasks.adding.own_files import Source
from metaxcr.tasks.example import Example
from metaxcr.tasks.readers import read_examples
from metaxcr.tasks.registry import load
from metaxcr.tasks.spec import TaskSpec

ORIGIN = "copa"
_REFERENCES = (("copa", "train"), ("copa", "val"), ("xcopa_en", "val"), ("xcopa_en", "test"))
_LEAST = 50  # rows: fewer may agree by chance
_AGREE = 0.95


@dataclass(frozen=True, slots=True)
class Translation:
    """What a split was found to be.

    Attributes:
        split: COPA's split.
        compared: Rows that COPA's items were held against.
        labels: Rows with COPA's label; None where the split has none.
        questions: Rows with COPA's question; None where it asks neither for cause nor effect.
    """

    split: str
    compared: int
    labels: int | None
    questions: int | None

    def __str__(self) -> str:
        """Say it in one line."""
        parts = [
            f"{count} of {self.compared} {what}"
            for count, what in ((self.labels, "labels"), (self.questions, "questions"))
            if count is not None
        ]
        return f"a translation of COPA's {self.split} ({' and '.join(parts)} are COPA's)"


def references(root: Path | None = None) -> dict[str, list[Example]]:
    """Load COPA as far as it is there: split -> examples in COPA's order, with labels.

    Args:
        root: Data root, see :func:`metaxcr.tasks.roots.candidate_roots`.
    """
    found: dict[str, list[Example]] = {}
    for task, split in _REFERENCES:
        try:
            found.setdefault(split, load(task, split, root=root).examples)
        except UserError:  # not there
            continue
    return found


def translation_of(numbered: Mapping[int, Example], copa: Mapping[str, list[Example]]) -> Translation | None:
    """Find the split of COPA that examples are a translation of.

    Labels decide where there are any: translators leave them alone, while whole files are known to have lost
    their questions (XCOPA's Thai one).

    Args:
        numbered: Number of the item, from 0 -> example.
        copa: From :func:`references`.

    Returns:
        The split with which at least 95 % of at least 50 rows agree, or None.
    """
    for split, items in copa.items():
        pairs = [(items[number], example) for number, example in numbered.items() if 0 <= number < len(items)]
        if len(pairs) < max(_LEAST, _AGREE * len(numbered)):
            continue
        labelled = all(example.label is not None for _, example in pairs)
        causal = all(example.question in ("cause", "effect") for _, example in pairs)
        labels = sum(item.label == example.label for item, example in pairs) if labelled else None
        questions = sum(item.question == example.question for item, example in pairs) if causal else None
        deciding = labels if labels is not None else questions
        if deciding is not None and deciding >= _AGREE * len(pairs):
            return Translation(split, len(pairs), labels, questions)
    return None


def with_origin(
    spec: TaskSpec,
    sources: Sequence[Source],
    language: str,
    root: Path | None = None,
) -> tuple[TaskSpec, list[str]]:
    """Give translations of COPA its numbers as ids.

    Args:
        spec: A declaration in one language.
        sources: Its files.
        language: ISO 639-1 code.
        root: Data root, where COPA is looked for.

    Returns:
        The declaration, and what was found in words.
    """
    copa = references(root) if spec.relation == "question" else {}
    ids, notes = {}, []
    for source in sources:
        found = _numbering(spec, source, language, copa)
        if found is None:
            continue
        translation, template = found
        ids[source.split] = f"{translation.split}-{template}"
        notes.append(f"{source.split} is {translation}: its items count as COPA's in the leak guard")
    if not ids:
        return spec, notes
    body = body_of(spec)
    body["origin"] = ORIGIN
    for split, layout in body["splits"].items():
        own = layout.get("fields") or body["fields"]
        # what is none of COPA's items must not bear one's number
        layout["fields"] = {**own, "id": ids.get(split, f"own-{spec.split_fields(split).id}")}
    return validated(_hoisted(body)), notes


def _numbering(
    spec: TaskSpec, source: Source, language: str, copa: dict[str, list[Example]]
) -> tuple[Translation, str] | None:
    """Find the field, or else the order, that numbers the rows as COPA does."""
    own = re.fullmatch(r"(?:\{split\}-)?(\{[^{}]+\})", spec.split_fields(source.split).id)
    named = [own[1]] if own and own[1] not in ("{line}", "{position}") else []
    for template in [*named, "{position}"]:
        body = body_of(spec)
        layout = body["splits"][source.split]
        layout["fields"] = {**(layout.get("fields") or body["fields"]), "id": template}
        examples = read_examples(validated(body), source.split, language, source.path).examples
        numbered = {n: e for e in examples if e.id.isascii() and (n := digits_value(e.id)) is not None}
        translation = translation_of(numbered, copa) if len(numbered) == len(examples) else None
        if translation is not None:
            return translation, template
    return None


def _hoisted(body: dict[str, Any]) -> dict[str, Any]:
    """Write fields that all splits share once."""
    splits = body["splits"]
    named = [{**layout["fields"]} for layout in splits.values()]
    for split, fields in zip(splits, named, strict=True):
        if fields["id"].startswith(f"{split}-{{"):
            fields["id"] = "{split}" + fields["id"].removeprefix(split)
    if all(fields == named[0] for fields in named):
        body["fields"] = named[0]
        for layout in splits.values():
            del layout["fields"]
    return body
