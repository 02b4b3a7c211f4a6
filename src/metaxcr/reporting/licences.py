"""Licences and citations of the data that a result was made from."""

from collections.abc import Iterable
from typing import Any

from metaxcr.errors import UserError
from metaxcr.reporting.read import Record, records
from metaxcr.tasks import task_spec


def licences(tasks: Iterable[str]) -> list[dict[str, Any]]:
    """Return one row a data set: what it is called, its licence, what a paper has to cite, its address.

    Args:
        tasks: Ids; one that is not declared here (a user's own task on another machine) is listed as such.
    """
    rows = []
    for name in dict.fromkeys(tasks):
        try:
            spec = task_spec(name)
        except UserError:
            rows.append({"task": name, "licence": "not declared here", "citation": "", "url": ""})
            continue
        citation = " ".join(spec.citation.split())
        rows.append({"task": name, "licence": spec.licence, "citation": citation, "url": spec.url})
    return rows


def tasks_of(config: Record) -> list[str]:
    """Ids of the tasks that a run's settings name: target, English target data, sources, auxiliary data."""
    target = config.get("target")
    if not isinstance(target, dict):
        return []
    groups = [target, target.get("english"), *records(config.get("sources")), target.get("auxiliary")]
    return [str(group["task"]) for group in groups if isinstance(group, dict) and group.get("task")]
