"""A small comparison: cells equal single runs, nothing twice, failures named, interrupted and gone on."""

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from metaxcr.compare import comparison, job_runner
from metaxcr.compare.cell_store import CellStore
from metaxcr.compare.comparison import (
    ENGINES,
    Comparison,
    cell_estimates,
    default_workers,
    job_passes,
    processes,
)
from metaxcr.compare.grid import Grid
from metaxcr.compare.grid_summary import summarise
from metaxcr.compare.job_runner import group
from metaxcr.compare.plan import expand
from metaxcr.config.io import load_config
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import Predictions
from metaxcr.runs.cost_model import works
from metaxcr.runs.ctml import ctml
from metaxcr.runs.data_amounts import typical
from metaxcr.runs.experiment import run
from metaxcr.runs.progress import Progress

Build, CarryOut = Callable[..., Grid], Callable[..., Comparison]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds of the CTML runs that are carried out."""
    seeds: list[int] = []

    def counted(context, unit, seed, **more):
        seeds.append(seed)
        return ctml(context, unit, seed, **more)

    monkeypatch.setattr("metaxcr.runs.experiment.ctml", counted)
    return seeds


def test_a_cell_is_what_its_command_gives_and_ctml_is_run_once(
    grid: Build, carry_out: CarryOut, trained: list[int], tmp_path: Path
) -> None:
    found = carry_out(grid(), tmp_path / "out")
    assert not found.failed and len(found.records) == 8
    assert trained == [3, 3]  # once for each of two methods, for two languages and two numbers of shots
    for label in ("reinforced: sw, k=8, seed 3", "plain: es, seed 3"):
        cell = next(cell for cell in found.cells if cell.label == label)
        record = found.records[cell.key]
        config = load_config(cell.base, cell.overrides)
        results = run(config, tmp_path / cell.key, progress=Progress(Console(quiet=True), quiet=True))
        assert record.config_hash == results["config_hash"]
        paths = (tmp_path / cell.key / "predictions").glob("*.jsonl")
        (alone,) = [p for p in map(Predictions.read, paths) if p.regime == cell.regime]
        assert record.right.tolist() == alone.correct.tolist() and record.label.tolist() == alone.labels
        assert abs(record.probability - alone.probabilities).max() < 2e-5
        costs = json.loads((tmp_path / cell.key / "costs.json").read_text())["stages"]
        (answering,) = [stage["token_passes"] for stage in costs if stage["stage"] == "evaluate"]
        share = record.costs["evaluate"]["token_passes"] / answering
        assert 0.4 < share < 0.6  # a run answers by similarity, too
        assert record.k == cell.k and record.token_passes > 0 and record.parameters["trained"] > 0
    assert not list((tmp_path / "out" / "work").glob("job-*"))


def test_nothing_is_run_twice_in_whatever_grid(
    grid: Build, carry_out: CarryOut, trained: list[int], tmp_path: Path
) -> None:
    first = carry_out(grid(), tmp_path / "one")
    before = {p.name: p.read_bytes() for p in (tmp_path / "one" / "cells").glob("*.json")}
    assert max(map(len, before.values())) < 8000
    carry_out(grid(), tmp_path / "one")
    assert {p.name: p.read_bytes() for p in (tmp_path / "one" / "cells").glob("*.json")} == before
    trained.clear()
    other = grid(methods={"mine": {}, "again": {}}, baseline=None, languages=["sw"])
    second = carry_out(other, tmp_path / "two", tmp_path / "one" / "cells")
    assert trained == [] and not list((tmp_path / "two" / "cells").glob("*.json"))
    assert {first.records[key].key for key in second.records} == set(second.records)


def test_a_failed_cell_is_named_and_stops_no_other(
    grid: Build, carry_out: CarryOut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = job_runner.run

    def fails(config, *args, **options):
        if config.ctml.learner == "multi-task" and config.run.regimes == ["few-shot"]:
            raise UserError("the shots are bad", "target.k")
        return original(config, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(job_runner, "run", fails)
        found = carry_out(grid(), tmp_path / "out")
    line = "the shots are bad (target.k)"
    assert found.failed == {f"plain: {lang}, k=8, seed 3": line for lang in ("es", "sw")}
    assert len(found.records) == 6
    again = carry_out(grid(), tmp_path / "out")
    assert not again.failed and len(again.records) == 8


def test_interrupted_anywhere_it_goes_on(
    grid: Build, carry_out: CarryOut, trained: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = carry_out(grid(), tmp_path / "whole")
    trained.clear()
    for moment in ("ctml seed 3", "few-shot es seed 3", "evaluate few-shot seed 3"):
        from metaxcr.runs.run_dir import RunDir

        finish, left = RunDir.finish, [1]

        def interrupted(self, unit, finish=finish, left=left, moment=moment):
            finish(self, unit)
            if unit == moment and left[0]:
                left[0] -= 1
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(RunDir, "finish", interrupted)
            with pytest.raises(KeyboardInterrupt):
                carry_out(grid(), tmp_path / "out")
    found = carry_out(grid(), tmp_path / "out")
    assert trained == [3, 3]
    assert found.records.keys() == whole.records.keys()
    for key, record in found.records.items():
        assert (record.correct, record.probabilities) == (
            whole.records[key].correct,
            whole.records[key].probabilities,
        )


def test_cells_of_other_data_are_run_again(grid: Build, carry_out: CarryOut, tmp_path: Path) -> None:
    small = grid(methods={"similarity": {"kind": "similarity"}}, baseline=None)
    found = carry_out(small, tmp_path / "out")
    path = tmp_path / "out" / "cells" / f"{found.cells[0].key}.json"
    value = json.loads(path.read_text())
    place = next(name for name in value["checksums"] if name.startswith("starter_target/test"))
    path.write_text(json.dumps({**value, "checksums": {**value["checksums"], place: "0" * 64}}))
    again = carry_out(small, tmp_path / "out")
    assert again.outdated == ["similarity: es"]
    assert json.loads(path.read_text())["checksums"] == value["checksums"]


def test_majority_and_similarity(grid: Build, carry_out: CarryOut, tmp_path: Path) -> None:
    methods = {"majority": {"kind": "majority"}, "similarity": {"kind": "similarity"}}
    found = carry_out(grid(methods=methods, baseline="similarity"), tmp_path / "out")
    assert not found.failed
    records = {cell.label: found.records[cell.key] for cell in found.cells}
    shares = [records["majority: es"].label.tolist().count(place) / 84 for place in (0, 1)]
    assert records["majority: es"].right.mean() in shares
    assert records["similarity: es"].regime == "none" and records["similarity: es"].seed is None


def test_a_cell_alone_is_the_cell_after_others(grid: Build, carry_out: CarryOut, tmp_path: Path) -> None:
    many = carry_out(grid(seeds=[4, 3], shots=[8, 0]), tmp_path / "many")
    for method, language, k in (("reinforced", "sw", 8), ("plain", "es", 0)):
        one = grid(methods={method: grid().methods[method].model_dump(exclude_unset=True)}, baseline=None,
                   languages=[language], shots=[k])  # fmt: skip
        alone = carry_out(one, tmp_path / method)
        ((key, record),) = alone.records.items()
        ours, theirs = record.as_dict(), many.records[key].as_dict()
        for value in (ours, theirs):
            del value["costs"], value["environment"]["date"]
        assert ours == theirs


def passes(grid: Grid) -> list[int]:
    return [job_passes(job, with_ctml=i == 0) for chain in group(expand(grid)) for i, job in enumerate(chain)]


def test_what_costs_more_is_estimated_higher(grid: Build) -> None:
    usual = passes(grid(methods={"a": {}}, baseline=None))
    for change in ("settings.ctml.steps=9", "settings.ctml.learner=maml", "settings.ctml.inner_steps=3"):
        assert passes(grid(change, methods={"a": {}}, baseline=None))[0] > usual[0]
    assert passes(grid("settings.sampler.kind=uniform", methods={"a": {}}, baseline=None))[0] < usual[0]
    assert passes(grid(methods={"a": {}}, baseline=None, languages=["sw"]))[0] < usual[0]
    assert passes(grid("settings.finetune.steps=9", methods={"a": {}}, baseline=None))[1] > usual[1]
    assert passes(grid(methods={"a": {"kind": "majority"}}, baseline=None))[0] == 0


def test_ctml_counts_once_for_all_cells_that_share_it(grid: Build) -> None:
    made = grid(methods={"a": {}}, baseline=None, shots=[0, 8])
    rows = cell_estimates(Comparison(made, expand(made)))
    config = expand(made)[0].config
    stages = works(config, typical(config), comparison.ESTIMATED_STEPS)
    without = grid("settings.ctml.steps=0", methods={"a": {}}, baseline=None, shots=[0, 8])
    others = cell_estimates(Comparison(without, expand(without)))
    more = sum(row["token_passes"] for row in rows) - sum(row["token_passes"] for row in others)
    assert abs(more - sum(work.passes for work in stages if work.stage == "ctml")) <= len(rows)
    assert {row["state"] for row in rows} == {"to run"} and len({row["key"] for row in rows}) == 4


def test_what_another_method_gives_already_costs_nothing(grid: Build) -> None:
    made = grid(methods={"a": {}, "the same": {}}, baseline=None)
    rows = cell_estimates(Comparison(made, expand(made)))
    assert [row["state"] for row in rows] == ["to run"] * 4 + ["shared"] * 4


def test_a_waiting_method_takes_over_no_cells_of_another(
    grid: Build, carry_out: CarryOut, tmp_path: Path
) -> None:
    methods = {"similarity": {"kind": "similarity"}}
    methods |= {"adapted": {"kind": "similarity", "needs": "adapters.language"}}
    found = carry_out(grid(methods=methods, baseline="similarity"), tmp_path / "out")
    assert {cell.method for cell in found.waiting} == {"adapted"}
    assert {row["cell"].split(":")[0]: row["state"] for row in cell_estimates(found)} == {
        "similarity": "finished",
        "adapted": "waits",
    }
    summary = summarise(found, CellStore(tmp_path / "out" / "cells"))
    assert [row["method"] for row in summary["averages"]] == ["similarity"] and not summary["differences"]


def test_openings_are_recorded_where_the_user_says(
    grid: Build, carry_out: CarryOut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = grid(methods={"majority": {"kind": "majority"}}, baseline=None)
    ledger = tmp_path / "openings.jsonl"
    carry_out(made, tmp_path / "one", ledger=ledger)
    assert not ledger.exists()  # the task ships with the package
    lines = []
    monkeypatch.setattr(comparison, "record_opening", lambda *line, **what: lines.append((*line, what)))
    found = carry_out(made, tmp_path / "two", ledger=ledger, command="metaxcr compare tiny")
    ((path, tasks, command, what),) = lines
    assert (path, {*tasks}, command) == (ledger, {"starter_target"}, "metaxcr compare tiny")
    assert what["grid"] == "Tiny" and {*what["cells"]} == {cell.key for cell in found.cells}


@dataclass(frozen=True)
class Fake:
    """Stands for a job."""

    name: str


def work(job: Fake, listen) -> None:
    listen("step", 1, 2)
    if job.name == "bad":
        raise UserError("what", "where")
    if job.name == "bug":
        raise ZeroDivisionError("two\nlines")
    if job.name == "dies":
        os._exit(9)
    if job.name == "sleeps":
        time.sleep(60)


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_every_job_ends_once(name: str) -> None:
    chains, heard = [[Fake("a"), Fake("bad"), Fake("b")], [Fake("bug")], [Fake("c")]], []
    ENGINES[name](chains, work, heard.append, 2)
    ended = {m.job.name: m.error for m in heard if m.step is None}
    assert ended == {"a": "", "bad": "what (where)", "b": "", "bug": "ZeroDivisionError: two lines", "c": ""}
    assert len([m for m in heard if m.step is None]) == 5
    assert len([m for m in heard if m.step]) == 5


def test_a_process_that_dies_fails_its_own_jobs() -> None:
    heard = []
    processes([[Fake("a"), Fake("dies"), Fake("b")], [Fake("c")]], work, heard.append, 1)
    ended = {m.job.name: m.error for m in heard if m.step is None}
    assert ended["a"] == ended["c"] == "" and "died (exit status 9)" in ended["dies"] == ended["b"]


def test_an_interrupt_ends_the_processes() -> None:
    def hear(message) -> None:
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        processes([[Fake("sleeps")], [Fake("sleeps")]], work, hear, 2)
    assert time.monotonic() - begun < 50 and not multiprocessing.active_children()


def report_process(job: Fake, listen) -> None:
    listen(str(os.getpid()), 0, 1)


def test_a_process_takes_one_chain_after_another() -> None:
    heard = []
    processes([[Fake(str(n))] for n in range(5)], report_process, heard.append, 2)
    numbers = {m.step[0] for m in heard if m.step}
    assert len(numbers) <= 2 and str(os.getpid()) not in numbers
    assert len([m for m in heard if m.step is None]) == 5


def test_one_process_a_core_while_memory_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, gigabytes, expected in ((1, 64, 1), (2, 24, 2), (16, 64, 4), (16, 12, 2), (4, 2, 1)):
        sizes = {"SC_PHYS_PAGES": gigabytes * 2**18, "SC_PAGE_SIZE": 4096}
        monkeypatch.setattr(comparison, "available_threads", lambda cores=cores: cores)
        monkeypatch.setattr(os, "sysconf", sizes.get)
        assert default_workers() == expected
