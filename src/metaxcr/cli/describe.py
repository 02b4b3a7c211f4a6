"""What ``metaxcr tasks`` says about a task."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metaxcr.tasks import Example, TaskSpec


def entry(spec: "TaskSpec", data: Path | None) -> dict[str, Any]:
    """Return what ``ls`` says about a task."""
    from metaxcr.tasks.roots import missing_files, relative_files

    names = {n for split in spec.splits for lang in spec.languages for n in relative_files(spec, split, lang)}
    return {
        "id": spec.id,
        "version": spec.version,
        "title": spec.title,
        "group": spec.group,
        "splits": {name: split.n or _count(spec, name) for name, split in spec.splits.items()},
        "languages": spec.languages,
        "files": len(names),
        "missing": missing_files(spec, data),
        "licence": spec.licence,
    }


def _count(spec: "TaskSpec", split: str) -> int | None:
    """Items of a split that ships with the package; of others only the declared number is known."""
    from metaxcr.tasks.registry import load

    return len(load(spec.id, split, language=spec.languages[0]).examples) if spec.package else None


def declared(spec: "TaskSpec") -> dict[str, Any]:
    """Return what ``show`` says beyond that."""
    repairs = spec.repair.ids if spec.repair else {}
    counts = {f"{split} {lang}": len(ids) for split, langs in repairs.items() for lang, ids in langs.items()}
    return {
        "relation": spec.relation,
        "polarity": spec.polarity,
        "parallel": spec.parallel,
        "url": spec.url,
        "citation": spec.citation,
        "defects": spec.defects,
        "repairs": {place: f"{n} questions to '{spec.repair.question}'" for place, n in counts.items() if n}
        if spec.repair
        else {},
    }


def seen(example: "Example", spec: "TaskSpec") -> dict[str, Any]:
    """Return an example as the encoder sees it."""
    from metaxcr.tasks.phrasing import phrase

    phrased = phrase(example, spec)
    return {
        "id": example.id,
        "context": phrased.context,
        "relation": phrased.relation,
        "choices": list(phrased.choices),
        "label": example.label,
    }


def presence(row: dict[str, Any]) -> str:
    """Say how many of a task's files are there."""
    there = row["files"] - len(row["missing"])
    return "all" if not row["missing"] else "none" if not there else f"{there} of {row['files']}"


def words(value: Any) -> str:
    """Write a declared value for people."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {'?' if inner is None else inner}" for key, inner in value.items())
    if isinstance(value, list):
        return (
            ("\n" + 11 * " ").join(map(str, value)) if any(" " in str(v) for v in value) else " ".join(value)
        )
    return str(value)
