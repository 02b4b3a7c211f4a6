import json
from pathlib import Path

import pytest

from metaxcr.errors import UserError
from metaxcr.reports.run_records import read_run, stages_without


def test_reads_every_part(full_run):
    run = read_run(full_run)
    assert run.missing == []
    assert run.target == "xcopa" and not run.demonstration
    assert run.environment["threads"] == 2
    assert run.costs["total_seconds"] == 1560.0
    assert len(run.stage("ctml")) == 3 * 60
    assert [(shot["task"], shot["seed"], len(shot["ids"])) for shot in run.shots] == [
        ("xcopa", s, 16) for s in range(3)
    ]


def test_names_what_is_missing(make_run):
    run = read_run(make_run(omit=("results.json", "costs.json", "config.yaml")))
    text = " ".join(run.missing)
    assert (
        "results.json is missing" in text
        and "costs.json is missing" in text
        and "config.yaml is missing" in text
    )
    assert run.events and run.environment
    assert run.target == ""


def test_target_from_results_without_settings(make_run):
    assert read_run(make_run(omit=("config.yaml",), raw=False)).target == "xcopa"


def test_half_a_line_at_the_end_is_counted_and_left_out(make_run):
    folder = make_run(steps=4)
    whole = len(read_run(folder).events)
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"stage": "ctml", "st')
    run = read_run(folder)
    assert len(run.events) == whole
    assert run.missing == [f"events.jsonl: 1 unreadable line left out ({whole + 1})."]


def test_damaged_json_is_named_with_its_line(make_run):
    folder = make_run(steps=4)
    (folder / "results.json").write_text('{"rows": [\n}')
    (folder / "config.yaml").write_text("a: [")
    run = read_run(folder)
    assert run.results == {} and run.config == {}
    assert any("results.json is damaged (line 2)" in note for note in run.missing)
    assert any("config.yaml is damaged (line 1): not valid YAML" in note for note in run.missing)


def test_damaged_shots_are_named(make_run):
    folder = make_run(steps=4)
    (folder / "shots" / "xcopa.seed1.json").write_text("nothing")
    run = read_run(folder)
    assert [shot["seed"] for shot in run.shots] == [0, 2]
    assert run.missing == ["shots/xcopa.seed1.json is damaged and left out."]


def test_starter_target_is_a_demonstration(make_run):
    assert read_run(make_run(task="starter_target", steps=4, omit=("results.json",))).demonstration
    assert read_run(
        make_run("other", task="starter_target", steps=4, raw=False, omit=("config.yaml",))
    ).demonstration


def test_refuses_what_is_not_a_run_folder(tmp_path: Path):
    with pytest.raises(UserError, match="no such run folder"):
        read_run(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match="not a run folder"):
        read_run(tmp_path)
    (tmp_path / "costs.json").write_text(json.dumps({}))
    assert read_run(tmp_path).costs == {}


def test_stages_without_events():
    assert stages_without([{"stage": "ctml"}], ("ctml", "clml")) == ["clml"]
