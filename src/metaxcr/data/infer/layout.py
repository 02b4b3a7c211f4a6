"""The declaration of a task from guesses about its files, and two declarations made into one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from metaxcr.data.infer.guess import Guess
from metaxcr.data.infer.table import ColumnHints
from metaxcr.data.infer.user_files import DataSource
from metaxcr.data.spec import TaskSpec
from metaxcr.errors import UserError

UNKNOWN = "not given"
_SWITCHES = ("blank_choices", "blank_context")  # on for all splits if one needs it
_LABEL = ("label", "label_kind")
_WHOLE = ("relation", "phrasing", "polarity", "origin")


@dataclass
class Layout:
    """One split: its format and fields, its files by language, and their numbers of rows."""

    form: str
    part: str | None
    columns: list[str]
    fields: dict[str, Any]
    labelled: bool
    data: dict[str, str]
    n: dict[str, int]


def declared(
    name: str,
    language: str,
    sources: Sequence[DataSource],
    guesses: Sequence[Guess],
    asked: ColumnHints,
    about: Mapping[str, str | None],
) -> TaskSpec:
    """Make a declaration of files in one language.

    Args:
        name: Of the task.
        language: ISO 639-1 code.
        sources: The files, one a split.
        guesses: What each holds.
        asked: What the user said about the fields.
        about: ``group``, ``licence``, ``citation``, ``url``, ``origin``.

    Raises:
        UserError: The files are not of one kind.
    """
    first = guesses[0]
    for source, other in zip(sources, guesses, strict=True):
        if (other.relation, other.phrasing) != (first.relation, first.phrasing):
            raise UserError(
                f"{sources[0].path.name} and {source.path.name} ask in different ways",
                f"relations '{first.relation}' and '{other.relation}'",
                "add them under two names",
            )
    layouts = {
        source.split: Layout(
            source.form,
            source.part,
            list(source.columns),
            dict(one.fields),
            one.labelled,
            {language: source.name},
            {},
        )
        for source, one in zip(sources, guesses, strict=True)
    }
    repairs = {step["step"]: step for one in guesses for step in one.repairs}
    repairs |= {"repeated-ids": {"step": "repeated-ids"}} if "repeated-ids" in asked.repairs else {}
    hub = next((source.download.hub for source in sources if source.download), None)
    given = {key: value for key, value in about.items() if value is not None}
    body: dict[str, Any] = {
        "id": name,
        "version": 1,
        "title": f"{name}, added from {hub or 'own files'}",
        "group": "target",
        "languages": [language],
        "codes": {code: spelt for one in guesses for code, spelt in one.codes.items()},
        **_laid_out(layouts),
        "phrasing": first.phrasing,
        "relation": first.relation,
        "repairs": list(repairs.values()),
        "skip_bad": asked.skip_bad,
        "fetch": [source.download.model_dump() for source in sources if source.download],
        "licence": UNKNOWN,
        "citation": UNKNOWN,
        "url": f"https://huggingface.co/datasets/{hub}" if hub else UNKNOWN,
        **given,
    }
    return validated(body)


def merged(old: TaskSpec, new: TaskSpec, language: str, *, force: bool, path: Path) -> TaskSpec:
    """Make one declaration of two.

    Args:
        old: What is declared.
        new: More of it in one language.
        language: ISO 639-1 code of the new files.
        force: Replace the splits of this language that are already there.
        path: Of the old declaration, for messages.

    Raises:
        UserError: A split is already there, or the two are laid out differently.
    """
    before, after = _layouts(old), _layouts(new)
    again = [split for split in after if language in getattr(before.get(split), "data", {})]
    if again and not force:
        raise UserError(
            f"'{old.id}' already has {' and '.join(again)} in '{language}'",
            str(path),
            "replace it with --force",
        )
    if force and all(split in after and set(layout.data) == {language} for split, layout in before.items()):
        return validated({**body_of(new), "version": old.version + 1})
    for key in _WHOLE:
        if getattr(old, key) != getattr(new, key):
            was, now = (str(getattr(spec, key) or "none") for spec in (old, new))
            raise UserError(
                f"'{old.id}' has {key} {was}, these files {now}", str(path), "give another --name"
            )
    for split, layout in after.items():
        known = before.setdefault(split, replace(layout, data={}, n={}))
        soft = _unified([known.fields, layout.fields])
        same = known.form == layout.form and (known.part, known.columns) == (layout.part, layout.columns)
        if not same or known.labelled != layout.labelled or soft[0] != soft[1]:
            what = (
                "layout"
                if known.labelled == layout.labelled
                else "labels in one language and none in another"
            )
            raise UserError(
                f"'{old.id}' {split} has another {what}", str(path), "give another --name, or another --split"
            )
        known.fields = soft[0]
        known.data |= layout.data
        known.n |= layout.n
    return validated(_joined(old, new, before, bool(again)))


def _joined(old: TaskSpec, new: TaskSpec, layouts: dict[str, Layout], changed: bool) -> dict[str, Any]:
    was, now = body_of(old), body_of(new)
    fetch = {load["to"]: load for load in [*was.get("fetch", []), *now.get("fetch", [])]}
    repairs = {step["step"]: step for step in [*was.get("repairs", []), *now.get("repairs", [])]}
    about = {key: now[key] for key in ("licence", "citation", "url") if now[key] != UNKNOWN}
    return {
        **{key: value for key, value in was.items() if key not in ("fields", "format", "splits")},
        **about,
        "version": old.version + changed,
        "languages": [*old.languages, *(code for code in new.languages if code not in old.languages)],
        "codes": {**was.get("codes", {}), **now.get("codes", {})},
        **_laid_out(layouts),
        "fetch": list(fetch.values()),
        "repairs": list(repairs.values()),
        "skip_bad": old.skip_bad or new.skip_bad,
        "equal_choices": "refuse" if "refuse" in (old.equal_choices, new.equal_choices) else "keep",
    }


def _layouts(spec: TaskSpec) -> dict[str, Layout]:
    """Return the splits of a declaration that was made here."""
    body = body_of(spec)
    found = {}
    for name, split in spec.splits.items():
        if not isinstance(split.files.data, dict) or split.files.labels or split.ids or spec.columns:
            raise UserError(
                f"'{spec.id}' was written by hand",
                f"split {name}",
                "add the files to it by hand, or give another --name",
            )
        fields = body["splits"][name].get("fields") or body["fields"]
        n = dict(split.n) if isinstance(split.n, dict) else {}
        data = dict(split.files.data)
        form, columns = split.format or spec.format, split.columns or []
        found[name] = Layout(form, split.part, columns, fields, split.labelled, data, n)
    return found


def _laid_out(layouts: dict[str, Layout]) -> dict[str, Any]:
    """Write splits; what most share stands once."""
    unified = _unified([layout.fields for layout in layouts.values()])
    first = next(iter(layouts.values()))
    splits: dict[str, Any] = {}
    for (name, layout), fields in zip(layouts.items(), unified, strict=True):
        splits[name] = {"files": {"data": layout.data}, "labelled": layout.labelled}
        if layout.n:
            splits[name]["n"] = layout.n
        if layout.part is not None:
            splits[name]["part"] = layout.part
        if layout.columns:
            splits[name]["columns"] = layout.columns
        if layout.form != first.form:
            splits[name]["format"] = layout.form
        if fields != unified[0]:
            splits[name]["fields"] = fields
    return {"format": first.form, "fields": unified[0], "splits": splits}


def _unified(listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bring fields that differ only in what does no harm elsewhere to one form."""
    labels = next(({key: one[key] for key in _LABEL if key in one} for one in listed if "label" in one), {})
    switches = {key: True for key in _SWITCHES if any(one.get(key) for one in listed)}
    words: dict[str, list[str]] = {}
    for one in listed:
        for kind, spelt in one.get("question_words", {}).items():
            words[kind] = sorted({*words.get(kind, []), *spelt})
    if words:  # the plain words too, for the files that use them
        words = {kind: sorted({*words.get(kind, []), kind}) for kind in ("cause", "effect")}
    unified = []
    for one in listed:
        new = {key: value for key, value in one.items() if key not in ("question_words", *_SWITCHES)}
        new |= labels if "label" not in one else {}
        new |= switches | ({"question_words": words} if words and "question" in one else {})
        unified.append(new)
    return unified


def body_of(spec: TaskSpec) -> dict[str, Any]:
    """Return a declaration as its YAML file has it."""
    return spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def validated(body: dict[str, Any]) -> TaskSpec:
    """Check a declaration.

    Raises:
        UserError: A value that the user gave is not allowed.
    """
    try:
        return TaskSpec.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{key}: {first['msg']}", None, "choose another value") from error
