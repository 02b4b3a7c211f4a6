"""Trackers get the events of the log, each once, and cannot stop a run."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from rich.console import Console

from metaxcr.config.io import config_hash, load_config
from metaxcr.config.schema import Config
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.runs import progress
from metaxcr.runs import progress as module
from metaxcr.runs.experiment import run
from metaxcr.runs.progress import KINDS, Progress, Tracking, check_trackers, series
from metaxcr.runs.run_dir import RunDir


def shown(monkeypatch: pytest.MonkeyPatch, times: list[float], *, quiet: bool = False) -> list[str]:
    """Lines of a log in which an activity of four steps is updated at these times."""
    clock = iter(times)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    now, log = [0.0], io.StringIO()
    progress = Progress(Console(file=log, width=200), quiet=quiet)
    for done, at in enumerate(clock):
        now[0] = at
        progress.update("ctml", done, 4, "loss 0.5")
    progress.finish()
    return log.getvalue().splitlines()


def test_a_log_gets_a_line_every_15_seconds_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, [0.0, 10.0, 20.0, 25.0])
    assert lines == ["  ctml: 2/4, about 20 s left loss 0.5"]


def test_a_quiet_one_shows_messages_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, [0.0, 20.0, 40.0], quiet=True) == []
    log = io.StringIO()
    Progress(Console(file=log), quiet=True).say("[bold]as it is[/bold]")
    assert log.getvalue() == "[bold]as it is[/bold]\n"


def test_a_terminal_gets_a_bar() -> None:
    log = io.StringIO()
    progress = Progress(Console(file=log, force_terminal=True, width=100))
    progress.update("ctml", 1, 4)
    progress.finish()
    assert "ctml" in log.getvalue()


EVENT = {"stage": "ctml", "seed": 3, "step": 4, "language": "sw", "query_loss": 0.5, "source": "a",
         "probabilities": {"a": 0.25, "b": 0.75}, "inner_losses": [1.0]}  # fmt: skip


class Recorder:
    """Stands for one of accelerate's trackers: keeps what it is given."""

    made: ClassVar[list["Recorder"]] = []
    breaks = ""

    def __init__(self, **options: Any) -> None:
        self.options, self.points, self.open = options, [], False
        self.tracker = SimpleNamespace(info=SimpleNamespace(run_id="run-1"))
        Recorder.made.append(self)

    def start(self) -> None:
        self.open = True
        self._break("start")

    def log(self, values: dict[str, float], step: int | None = None) -> None:
        self.points.append((step, values))
        self._break("log")

    def finish(self) -> None:
        self.open = False

    def _break(self, where: str) -> None:
        if self.breaks == where:
            raise ConnectionError("no\nnetwork")


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    """All trackers are recorders."""
    module = SimpleNamespace(LOGGER_TYPE_TO_CLASS=dict.fromkeys(KINDS, Recorder))
    monkeypatch.setattr(progress, "import_module", lambda name: module)
    monkeypatch.setattr(progress, "find_spec", lambda name: object())
    monkeypatch.setattr(Recorder, "made", [])
    return Recorder.made


@pytest.fixture
def start(
    toy_encoder: FrozenEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., dict]]:
    """Start a small run on the toy encoder."""
    monkeypatch.setattr("metaxcr.runs.experiment.load_encoder", lambda *_, **__: toy_encoder)
    monkeypatch.setenv("METAXCR_CACHE", str(tmp_path / "cache"))
    yield lambda settings, out, **how: run(
        settings, out, progress=Progress(Console(quiet=True), quiet=True), **how
    )
    torch.use_deterministic_algorithms(False)


def small(*names: str) -> Config:
    settings = [
        *("run.seeds=[3]", "run.checkpoint_every=2", "run.threads=1", "run.regimes=[few-shot]"),
        *("encoder.max_tokens=64", "target.languages=[sw]", "target.parallel=null", "adapters.bottleneck=4"),
        *("ctml.steps=5", "ctml.support=4", "ctml.query=4", "ctml.reward=4", "ctml.alignment=0"),
        *("clml.few_shot_steps=2", "clml.support=4", "clml.query=4", "clml.reward=4", "finetune.steps=2"),
    ]
    return load_config("starter", [*settings, f"run.tracker={json.dumps(names)}"])


def expected(out: Path) -> list[dict[str, float]]:
    """The values of every event of the log."""
    return [dict(series(json.loads(line))) for line in (out / "events.jsonl").read_text().splitlines()]


def test_series_are_numbers_with_names() -> None:
    assert dict(series(EVENT)) == {
        "ctml/seed 3/sw/query_loss": 0.5,
        "ctml/seed 3/sw/probabilities/a": 0.25,
        "ctml/seed 3/sw/probabilities/b": 0.75,
    }


def test_one_name_or_several_and_no_other(tmp_path: Path) -> None:
    assert load_config("starter", ["run.tracker=wandb"]).run.tracker == ["wandb"]
    assert load_config("starter").run.tracker == []
    with pytest.raises(UserError, match=r"run\.tracker"):
        load_config("starter", ["run.tracker=tensorbord"])


def test_the_identity_of_a_run_does_not_know_of_trackers() -> None:
    assert config_hash(small("tensorboard"), {}) == config_hash(small(), {})


@pytest.mark.parametrize("name", sorted(KINDS))
def test_what_is_not_installed_is_named_before_anything_is_run(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start: Callable[..., dict]
) -> None:
    absent = KINDS[name].package
    monkeypatch.setattr(progress, "find_spec", lambda asked: None if asked == absent else object())
    with pytest.raises(UserError, match=r"pip install 'metaxcr\[tracking\]'") as caught:
        start(small(name), tmp_path / "run")
    assert caught.value.where == "run.tracker" and not (tmp_path / "run").exists()
    check_trackers([other for other in KINDS if other != name])


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_event_comes_once_also_of_a_run_that_is_stopped(
    name: str, recorders: list[Recorder], start: Callable[..., dict], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out, log = tmp_path / "run", RunDir.log
    for stop in (4, 6):  # after the checkpoint at two and four steps
        count = 0

        def stopped(self, event, stop=stop):
            nonlocal count
            log(self, event)
            count += 1
            if count == stop:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(RunDir, "log", stopped)
            start(small(name), out, resume=True)
    results = start(small(name), out, resume=True)
    points = [point for one in recorders for point in one.points]
    *events, (_, last) = points
    assert [values for _, values in events] == expected(out)
    assert list(last.values()) == [row["mean"] for row in results["averages"]]
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    steps = [*range(1, len(lines) + 1)] if KINDS[name].forwards else [line["step"] for line in lines]
    assert [step for step, _ in events] == steps
    assert not any(one.open for one in recorders) and len(recorders) == 3
    ids = [one.options.get("id", one.options.get("name")) for one in recorders]
    assert len(set(ids)) == 1
    if name == "mlflow":
        assert [one.options["run_id"] for one in recorders] == [None, "run-1", "run-1"]
    start(small(name), out, resume=True)  # finished: nothing new
    assert len(recorders[-1].points) == 0


@pytest.mark.parametrize("where", ["start", "log"])
def test_a_tracker_that_fails_is_named_once_and_left_out(
    where: str, recorders: list[Recorder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Recorder, "breaks", where)
    said: list[str] = []
    live = Tracking(["wandb"], tmp_path, {}, said.append)
    for number in (1, 2):
        live.log_event(number, EVENT)
    live.finish({"averages": []})
    (line,) = said
    assert "wandb" in line and "ConnectionError: no network" in line and "events.jsonl" in line


def test_without_trackers_nothing_is_written(start: Callable[..., dict], tmp_path: Path) -> None:
    start(small(), tmp_path / "run")
    assert not (tmp_path / "run" / "tracking.json").exists()


def test_tensorboard_shows_the_log_and_changes_no_result(start: Callable[..., dict], tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out, plain = tmp_path / "run", tmp_path / "plain"
    start(small("tensorboard"), out)
    start(small(), plain)
    for name in ("events.jsonl", "results.json"):
        assert (out / name).read_bytes() == (plain / name).read_bytes()
    shown = EventAccumulator(str(out / "tracking" / "tensorboard"))
    shown.Reload()
    names = [set(values) for values in expected(out)]
    results = {name for name in shown.Tags()["scalars"] if name.startswith("results/")}
    assert set(shown.Tags()["scalars"]) == set().union(*names) | results and results
    losses = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    losses = [(e["step"], e["query_loss"]) for e in losses if e["stage"] == "ctml"]
    drawn = [(e.step, e.value) for e in shown.Scalars("ctml/seed 3/query_loss")]
    assert [step for step, _ in drawn] == [step for step, _ in losses] == [0, 1, 2, 3, 4]
    assert [value for _, value in drawn] == pytest.approx([loss for _, loss in losses])
