"""Licences: of every task that the settings name, once; unknown ones are listed, too."""

from metaxcr.config_io import load_config
from metaxcr.reporting.licences import licences, tasks_of


def test_every_task_of_a_run_is_listed_once() -> None:
    config = load_config("xcopa-embedded").model_dump(mode="json")
    rows = licences(tasks_of(config))
    names = [row["task"] for row in rows]
    assert names[:2] == ["xcopa", "copa"] and {"ecare", "socialiqa", "xstorycloze"} <= set(names)
    assert len(names) == len(set(names))
    assert all(row["licence"] and row["citation"] and row["url"] for row in rows)


def test_unknown_tasks_and_no_settings() -> None:
    assert licences(["somebodys"])[0]["licence"] == "not declared here"
    assert tasks_of({}) == [] and tasks_of({"target": "xcopa"}) == []
