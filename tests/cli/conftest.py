"""A command line that runs in this process, and a small trained folder."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from metaxcr.cli import main
from metaxcr.data.registry import load
from metaxcr.encoders.encoder import FrozenEncoder

TINY = {
    "run.seeds": "[0]",
    "run.threads": "1",
    "run.checkpoint_every": "1",
    "encoder.max_tokens": "48",
    "encoder.dtype": "float32",
    "adapters.bottleneck": "4",
    "target.languages": "[es, sw]",
    "target.parallel.languages": "[es, sw]",
    "ctml.steps": "3",
    "ctml.support": "4",
    "ctml.query": "4",
    "ctml.reward": "4",
    "clml.few_shot_steps": "2",
    "finetune.steps": "2",
}


def tiny(**changes: str) -> list[str]:
    """``--set`` words for a run that takes a second; ``__`` in a name stands for a point."""
    settings = TINY | {key.replace("__", "."): value for key, value in changes.items()}
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


@dataclass
class Done:
    """What a command left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The last line of standard error."""
        return self.err.strip().splitlines()[-1]


Call = Callable[..., Done]


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data root and no cache of the user's: only the starter set is there."""
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))


def write_copa(folder: Path, line: str) -> None:
    """A COPA file of two lines: a good one and the one given."""
    (folder / "copa").mkdir()
    good = '{"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 0, "idx": 0}'
    (folder / "copa" / "train.jsonl").write_text(f"{good}\n{line}\n")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run a command in this process, with tables as wide as where there is no terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*words: str | Path) -> Done:
        capsys.readouterr()
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return run


def patch_commands(patch: pytest.MonkeyPatch, encoder: FrozenEncoder, folder: Path) -> None:
    """Let commands load the toy encoder, keep their cache in a folder, and find no data root."""
    patch.setattr("metaxcr.runs.experiment.load_encoder", lambda *_, **__: encoder)
    patch.setattr("metaxcr.api.load_encoder", lambda *_, **__: encoder)
    patch.setenv("METAXCR_CACHE", str(folder / "cache"))
    patch.setenv("XDG_CACHE_HOME", str(folder / "user"))
    patch.delenv("METAXCR_DATA", raising=False)


@pytest.fixture
def toy_command(
    toy_encoder: FrozenEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Commands of this test load the toy encoder and find no data root."""
    patch_commands(monkeypatch, toy_encoder, tmp_path_factory.getbasetemp() / "commands")
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def toy_run(toy_encoder: FrozenEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the starter configuration on the toy encoder."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    with pytest.MonkeyPatch.context() as patch:
        patch_commands(patch, toy_encoder, tmp_path_factory.getbasetemp() / "commands")
        assert main(["run", "starter", *tiny(), "--out", str(folder), "--quiet"]) == 0
    torch.use_deterministic_algorithms(False)
    return folder


@pytest.fixture
def tiny_settings() -> Callable[..., list[str]]:
    """The function :func:`tiny`."""
    return tiny


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    """Starter items in Swahili as a user may have them: a CSV with columns of its own."""
    path = tmp_path / "my items.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["premise", "asks-for", "alternative1", "alternative2", "most-plausible-alternative"])
        for e in load("starter_target", "shots", language="sw").examples[:20]:
            writer.writerow([e.context, e.question, *e.choices, (e.label or 0) + 1])
    return path


@pytest.fixture
def adapt(call: Call, toy_command: None, toy_run: Path, user_file: Path, tmp_path: Path) -> Call:
    """Adapt the toy run's meta-adapter to the user's file."""

    def run(
        *words: str, what: Path = user_file, language: str | None = "sw", out: Path = tmp_path / "model"
    ) -> Done:
        given = ["--language", language] if language else []
        return call("adapt", what, *given, "--start", toy_run, "--out", out, *words)

    return run
