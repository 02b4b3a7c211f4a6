"""Run folders, stores of cells and adapted models with damaged files: a result, or one line that says which.

A small run is carried out once on random weights, and so are a run that was stopped, a comparison and an
adapted model. Each input damages a copy of one of them and gives it to a command.
"""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from tests.cli.conftest import patch_commands, tiny
from tests.cli.test_compare import SMALL
from tests.fuzzing import fuzz, run_command

from metaxcr.cli import main
from metaxcr.data.registry import load
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.runs.run_dir import RunDir

DEEP = "[" * 5000 + "]" * 5000
VALUES: list[Any] = [
    None, True, False, 0, -1, 2, 1.5, 1e308, -1e308, math.nan, math.inf, 10**400, -(10**30), 2**63, "", "x",
    "en", "ctml", "\x1b[2J\u202e", "\ud800",
    "9" * 5000, "a" * 70_000, [], [None], [[]], ["x", 1], {}, {"a": 1},
    {"": None}, [1, 2, 3], [0.5], [1e308, -1e308], {"mean": "x"}, "DEEP",
]  # fmt: skip
NUMBERS = st.floats(0, 1, exclude_max=True)
VALUE = st.sampled_from(VALUES) | st.integers() | st.floats() | st.text(max_size=20)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything in a JSON value, itself included."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*path, key))


def change(value: Any, where: float, how: str, new: Any) -> Any:
    """Replace, delete, double or rename one thing of a JSON value."""
    found = list(places(value))
    path = found[int(where * len(found))]
    if not path:
        return new
    inside = value
    for key in path[:-1]:
        inside = inside[key]
    key = path[-1]
    if how == "delete":
        del inside[key]
    elif how == "rename" and isinstance(inside, dict):
        inside[str(new)] = inside.pop(key)
    elif how == "double" and isinstance(inside, list):
        inside.append(inside[key])
    else:
        inside[key] = new
    return value


def as_json(text: str, where: float, how: str, new: Any) -> str:
    """Damage a JSON file, or a line of a file of JSON lines, which stays JSON, more or less."""
    lines = text.split("\n") if text.count("\n{") > 1 and text.startswith("{") else [text]
    at = min(int(where * len(lines)), len(lines) - 1)
    try:
        value = json.loads(lines[at])
    except (ValueError, RecursionError):
        return text[: int(where * len(text))]
    made = json.dumps(change(value, where * 7919 % 1, how, new))
    lines[at] = made.replace('"DEEP"', DEEP)
    return "\n".join(lines)


def as_tensors(content: bytes, where: float, how: str, new: Any) -> bytes:
    """Damage the head of a safetensors file, whose length is put right."""
    length = min(int.from_bytes(content[:8], "little"), len(content))
    head = as_json(content[8 : 8 + length].decode("utf-8", "replace"), where, how, new).encode(
        "utf-8", "replace"
    )
    return len(head).to_bytes(8, "little") + head + content[8 + length :]


def as_bytes(content: bytes, where: float, how: str, new: Any) -> bytes:
    at = int(where * len(content))
    if how == "delete":
        return content[:at]
    if how == "rename":
        return content[:at] + str(new).encode("utf-8", "replace") + content[at:]
    flipped = bytearray(content)
    for step in range(1 if how == "double" else 20):
        if flipped:
            flipped[(at + 37 * step) % len(flipped)] ^= 1 << step % 8
    return bytes(flipped)


def files_of(folder: Path) -> list[Path]:
    """What can be damaged; files that few commands read, of which there are many, come once a kind."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (".lock", "report.html"))
    kinds: dict[tuple[str, str], list[Path]] = {}
    for path in found:
        kinds.setdefault((str(path.parent.relative_to(folder)), "".join(path.suffixes[-2:])), []).append(path)
    return [path for (parent, _), paths in kinds.items() for path in (paths if parent == "." else paths[:2])]


def damage(folder: Path, which: float, kind: str, where: float, how: str, new: Any, other: float) -> str:
    """Damage one file of a folder; return what was done, for messages."""
    files = files_of(folder)
    path, second = files[int(which * len(files))], files[int(other * len(files))]
    content = path.read_bytes()
    if kind == "values" and path.suffix in (".json", ".jsonl"):
        path.write_bytes(
            as_json(content.decode("utf-8", "replace"), where, how, new).encode("utf-8", "replace")
        )
    elif kind == "values" and path.suffix == ".safetensors":
        path.write_bytes(as_tensors(content, where, how, new))
    elif kind in ("values", "bytes"):
        path.write_bytes(as_bytes(content, where, how, new))
    elif kind == "lost":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "link":
        path.unlink()
        path.symlink_to(path)
    elif kind == "utf-16":
        path.write_bytes(content.decode("utf-8", "replace").encode("utf-16"))
    elif kind == "deep":
        path.write_text(DEEP)
    elif kind == "swapped":
        path.write_bytes(second.read_bytes())
        second.write_bytes(content)
    return f"{kind} {how} {path.relative_to(folder)}"


DAMAGES = st.lists(
    st.tuples(
        NUMBERS,
        st.sampled_from(
            ["values"] * 12 + ["bytes"] * 4
            + ["lost", "empty", "folder", "link", "utf-16", "deep", "swapped"]
        ),
        NUMBERS,
        st.sampled_from(["replace", "replace", "replace", "delete", "rename", "double"]),
        VALUE,
        NUMBERS,
    ),
    min_size=1,
    max_size=3,
)  # fmt: skip


class Stopped(KeyboardInterrupt):
    """What a user's interruption is to a run."""


@pytest.fixture(scope="module")
def originals(
    toy_encoder: FrozenEncoder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Path]]:
    """A finished run, one that was stopped between two checkpoints, a comparison, an adapted model."""
    place = tmp_path_factory.mktemp("originals")
    with pytest.MonkeyPatch.context() as patch:
        patch_commands(patch, toy_encoder, place / "commands")
        finished, stopped, compared, adapted = (
            place / name for name in ("finished", "stopped", "compared", "adapted")
        )
        words = ["run", "starter", *tiny(), "--quiet", "--out"]
        assert main([*words, str(finished)]) == 0
        checkpoint, calls = RunDir.checkpoint, count()

        def stop(self: RunDir, *state: Any) -> None:
            checkpoint(self, *state)
            if next(calls) == 1:
                raise Stopped

        with pytest.MonkeyPatch.context() as once:
            once.setattr(RunDir, "checkpoint", stop)
            assert main([*words, str(stopped)]) == 130
        assert main(["compare", "starter", *SMALL, "--out", str(compared), "--quiet"]) == 0
        file = place / "mine.jsonl"
        examples = load("starter_target", "shots", language="sw").examples[:20]
        rows = [
            {"premise": e.context, "question": e.question, "choices": list(e.choices), "label": e.label}
            for e in examples
        ]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        start = ["--start", str(finished), "--out", str(adapted)]
        assert main(["adapt", str(file), "--language", "sw", "--quiet", *start]) == 0
        questions = place / "questions.jsonl"
        questions.write_text(
            json.dumps({"premise": "Mvua ilinyesha.", "choices": ["Moja.", "Mbili."]}) + "\n"
        )
        yield {
            "finished": finished, "stopped": stopped, "compared": compared, "adapted": adapted,
            "questions": questions,
        }  # fmt: skip
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def copies(
    originals: dict[str, Path], toy_encoder: FrozenEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], Path]:
    """Copy an original to the same place as the copy before; the commands load the toy encoder."""
    patch_commands(monkeypatch, toy_encoder, originals["finished"].parent / "commands")

    def copy(name: str) -> Path:
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        shutil.copytree(originals[name], folder)
        return folder

    return copy


def try_command(
    folder: Path, damages: list[Any], *words: str | Path, statuses: tuple[int, ...] = (0, 2)
) -> None:
    """Damage a copy and run a command on it."""
    done = [damage(folder, *one) for one in damages if files_of(folder)]
    try:
        _, out, told = run_command(*words, statuses=statuses)
    except Exception as error:
        raise AssertionError(f"{words[0]}: {done}") from error
    assert "\x1b" not in out + told, done


@fuzz(0.04, quick=120, damages=DAMAGES, base=st.sampled_from(["finished", "finished", "stopped"]))
def test_diagnose(copies, damages, base):
    folder = copies(base)
    try_command(folder, damages, "diagnose", folder, "--json")


@fuzz(0.02, quick=20, damages=DAMAGES, base=st.sampled_from(["finished", "stopped", "compared", "adapted"]))
def test_report(copies, damages, base):
    folder = copies(base)
    try_command(folder, damages, "report", folder)


@fuzz(0.03, quick=40, damages=DAMAGES, base=st.sampled_from(["finished", "adapted"]), how=st.integers(0, 2))
def test_predict_and_export(copies, originals, tmp_path, damages, base, how):
    folder = copies(base)
    words = (
        ("predict", folder, originals["questions"], "--language", "sw", "--quiet"),
        ("export", folder, "--out", tmp_path / "out"),
        ("evaluate", folder, "--task", "starter_target", "--language", "sw", "--quiet"),
    )
    try_command(folder, damages, *words[how])


@fuzz(0.03, quick=25, damages=DAMAGES, base=st.sampled_from(["finished", "stopped", "stopped"]))
def test_resume(copies, damages, base):
    folder = copies(base)
    try_command(folder, damages, "run", "starter", *tiny(), "--out", folder, "--resume", "--quiet")


@fuzz(0.02, quick=15, damages=DAMAGES, evaluate=st.booleans())
def test_evaluate_and_adapt(copies, damages, evaluate):
    folder = copies("stopped" if evaluate else "finished")
    try_command(folder, damages, "evaluate" if evaluate else "adapt", folder, "--quiet")


@fuzz(0.02, quick=25, damages=DAMAGES)
def test_compare(copies, damages):
    folder, words = copies("compared"), ("compare", "starter", *SMALL, "--quiet", "--out")
    try_command(folder, damages, *words, folder, statuses=(0, 1, 2))  # 1: a cell failed, and is named
