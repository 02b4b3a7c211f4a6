"""The declaration of a user's task: of new files, with more files added, with other ids."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from metaxcr.data.example import Example
from metaxcr.data.infer.table import ColumnHints, Table
from metaxcr.data.infer.user_files import DataSource
from metaxcr.data.readers import LoadedSplit, read_examples
from metaxcr.data.registry import split_files
from metaxcr.data.spec import TaskSpec
from metaxcr.errors import UserError

_UNKNOWN = "not given"
_SAME_LABELS = 0.9  # share of equal labels below which two languages are not translations
_SWITCHES = ("blank_choices", "blank_context")  # fields that are on for all splits if one needs them
_LABEL_FIELDS = ("label", "label_kind")
_SAME_IN_ALL = ("relation", "phrasing", "polarity", "origin")  # keys on which all files of a task agree


def declare(
    name: str,
    language: str,
    sources: Sequence[DataSource],
    guesses: Sequence[Table],
    hints: ColumnHints,
    info: Mapping[str, str | None],
) -> TaskSpec:
    """Declare files in one language."""
    first, splits = guesses[0], {}
    for source, table in zip(sources, guesses, strict=True):
        if (table.relation, table.phrasing) != (first.relation, first.phrasing):
            what = f"{sources[0].path.name} and {source.path.name} ask in different ways"
            relations = f"relations '{first.relation}' and '{table.relation}'"
            raise UserError(what, relations, "add them under two names")
        splits[source.split] = {
            "files": {"data": {language: source.name}},
            "labelled": table.labelled,
            "part": source.part,
            "format": source.format,
            "columns": list(source.columns),
            "fields": table.fields,
        }
    repairs = {step["step"]: step for table in guesses for step in table.repairs}
    if "repeated-ids" in hints.repairs:
        repairs["repeated-ids"] = {"step": "repeated-ids"}
    downloads = [source.download for source in sources if source.download]
    hub = downloads[0].hub if downloads else None
    body: dict[str, Any] = {
        "id": name,
        "version": 1,
        "title": f"{name}, added from {hub or 'own files'}",
        "group": "target",
        "languages": [language],
        "codes": {code: spelt for table in guesses for code, spelt in table.codes.items()},
        **written_splits(splits),
        "phrasing": first.phrasing,
        "relation": first.relation,
        "repairs": list(repairs.values()),
        "skip_bad": hints.skip_bad,
        "fetch": [download.model_dump() for download in downloads],
        "licence": _UNKNOWN,
        "citation": _UNKNOWN,
        "url": f"https://huggingface.co/datasets/{hub}" if hub else _UNKNOWN,
    }
    return validated(body | {key: value for key, value in info.items() if value is not None})


def merged(old: TaskSpec, new: TaskSpec, language: str, *, force: bool, path: Path) -> TaskSpec:
    """Add a declaration in one language to what is declared; ``force`` replaces splits that are there."""
    splits, added = full_splits(old), full_splits(new)
    again = [name for name in added if name in splits and language in splits[name]["files"]["data"]]
    if again and not force:
        what = f"'{old.id}' already has {' and '.join(again)} in '{language}'"
        raise UserError(what, str(path), "replace it with --force")
    was, now = body_of(old), body_of(new)
    if force and all(name in added and [*one["files"]["data"]] == [language] for name, one in splits.items()):
        return validated({**now, "version": old.version + 1})
    for key in _SAME_IN_ALL:
        if getattr(old, key) != getattr(new, key):
            ours, theirs = (getattr(spec, key) or "none" for spec in (old, new))
            what = f"'{old.id}' has {key} {ours}, these files {theirs}"
            raise UserError(what, str(path), "give another --name")
    for name, split in added.items():
        known = splits.setdefault(name, {**split, "files": {"data": {}}, "n": {}})
        _merge_split(known, split, f"'{old.id}' {name}", path)
    fetch = {load["to"]: load for load in [*was.get("fetch", []), *now.get("fetch", [])]}
    repairs = {step["step"]: step for step in [*was.get("repairs", []), *now.get("repairs", [])]}
    refuse = "refuse" in (old.equal_choices, new.equal_choices)
    body = {
        **{key: value for key, value in was.items() if key not in ("fields", "format", "splits")},
        **{key: now[key] for key in ("licence", "citation", "url") if now[key] != _UNKNOWN},
        "version": old.version + bool(again),
        "languages": list(dict.fromkeys([*old.languages, *new.languages])),
        "codes": {**old.codes, **new.codes},
        **written_splits(splits),
        "fetch": list(fetch.values()),
        "repairs": list(repairs.values()),
        "skip_bad": old.skip_bad or new.skip_bad,
        "equal_choices": "refuse" if refuse else "keep",
    }
    return validated(body)


def _merge_split(known: dict[str, Any], new: dict[str, Any], what: str, path: Path) -> None:
    """Add the files of a split in one language to what is known of the split."""
    fix = "give another --name, or another --split"
    if known.get("labelled", True) != new.get("labelled", True):
        raise UserError(f"{what} has labels in one language and none in another", str(path), fix)
    fields, new_fields = _unified([known["fields"], new["fields"]])
    same = all(known.get(key) == new.get(key) for key in ("format", "part", "columns"))
    if not same or fields != new_fields:
        raise UserError(f"{what} has another layout", str(path), fix)
    known["fields"] = fields
    known["files"]["data"] |= new["files"]["data"]
    known["n"] |= new["n"]


def full_splits(spec: TaskSpec) -> dict[str, dict[str, Any]]:
    """Return the splits of a declaration that this module wrote, each with its format and fields."""
    body = body_of(spec)
    splits: dict[str, dict[str, Any]] = {}
    for name, split in spec.splits.items():
        if not isinstance(split.files.data, dict) or split.files.labels or split.ids or spec.columns:
            fix = "add the files to it by hand, or give another --name"
            raise UserError(f"'{spec.id}' was written by hand", f"split {name}", fix)
        counts = {"n": dict(split.n) if isinstance(split.n, dict) else {}, "languages": None}
        splits[name] = {"format": spec.format, "fields": body["fields"], **body["splits"][name], **counts}
    return splits


def written_splits(splits: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Write splits; the format and the fields of the first stand once, for the whole task."""
    unified = _unified([split["fields"] for split in splits.values()])
    shared = {"format": next(iter(splits.values()))["format"], "fields": unified[0]}
    written = {}
    for (name, split), fields in zip(splits.items(), unified, strict=True):
        own = {**split, "fields": fields}
        written[name] = {k: v for k, v in own.items() if v not in (None, [], {}, shared.get(k))}
    return {**shared, "splits": written}


def _unified(listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make fields equal where they differ only in keys that do no harm in the other files."""
    label = next(({k: one[k] for k in _LABEL_FIELDS if k in one} for one in listed if "label" in one), {})
    switches = {key: True for key in _SWITCHES if any(one.get(key) for one in listed)}
    words: dict[str, list[str]] = {}
    if any("question_words" in one for one in listed):  # the plain words too, for the files that use them
        for kind in ("cause", "effect"):
            spelt = (one.get("question_words", {}).get(kind, []) for one in listed)
            words[kind] = sorted({kind}.union(*spelt))
    unified = []
    for one in listed:
        same = {key: value for key, value in one.items() if key not in ("question_words", *_SWITCHES)}
        question_words = {"question_words": words} if words and "question" in one else {}
        unified.append(same | (label if "label" not in one else {}) | switches | question_words)
    return unified


def with_parallel(
    spec: TaskSpec, language: str, new: Mapping[str, LoadedSplit], root: Path | None
) -> TaskSpec:
    """Declare languages as parallel where ids, number of rows and labels agree in every split.

    Ids that are line numbers always agree, so the labels have to. ``new`` has the splits that were just read.
    """
    agree, compared = True, False
    for split in spec.splits:
        languages: list[list[Example]] = []
        for code in spec.split_languages(split):
            if code == language and split in new:
                languages.append(new[split].examples)
            else:
                file = split_files(spec, split, code, root)[0]
                languages.append(read_examples(spec, split, code, file).examples)
        labels = {example.id: example.label for example in languages[0]}
        for other in languages[1:]:
            compared = True
            same = sum(e.id in labels and labels[e.id] == e.label for e in other)
            agree = agree and {e.id for e in other} == set(labels) and same >= _SAME_LABELS * len(other)
    return validated({**body_of(spec), "parallel": agree and compared})


def body_of(spec: TaskSpec) -> dict[str, Any]:
    """Return a declaration as its YAML file has it."""
    return spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def validated(body: dict[str, Any]) -> TaskSpec:
    """Check a declaration; a value that is not allowed is an error of the user."""
    try:
        return TaskSpec.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{key}: {first['msg']}", None, "choose another value") from error


def with_ids(spec: TaskSpec, ids: Mapping[str, str], **changes: str) -> TaskSpec:
    """Change the ids of splits."""
    splits = full_splits(spec)
    for name, template in ids.items():
        splits[name]["fields"] = {**splits[name]["fields"], "id": template}
    return validated({**body_of(spec), **changes, **written_splits(splits)})
