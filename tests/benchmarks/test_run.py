"""The benchmark's contenders compute the same, and its command runs."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from metaxcr.meta.learners import make_learner
from metaxcr.model.batch import encode_task
from metaxcr.training.episodes import losses_of

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TOLERANCE = 1e-4


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The benchmark's own modules, which are no package: they run as programs."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import common
    import plain_loop
    import run

    return SimpleNamespace(plain_loop=plain_loop, run=run, common=common)


def start_command(*arguments: str) -> str:
    command = [sys.executable, str(BENCHMARKS / "run.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.real
@pytest.mark.slow
def test_the_plain_loop_and_this_project_are_the_same_mathematics(
    modules: SimpleNamespace, data_root: Path, tmp_path: Path
) -> None:
    settings = SimpleNamespace(**modules.run.QUICK, dtype="float32", threads=1, quick=True)
    modules.common.prepare(settings, tmp_path)
    setup = modules.common.Setup(settings, tmp_path, "last-two")
    generator = torch.Generator().manual_seed(1)
    # fresh adapters add nothing, and half of their gradients are zero: begin elsewhere
    phi = {n: p + 0.02 * torch.randn(p.shape, generator=generator) for n, p in setup.start().items()}

    plain = modules.plain_loop.PlainModel(
        modules.common.read_bert(), settings.settings["last-two"], settings.bottleneck
    )
    plain.load_start(phi)
    support, query = setup.plain_episodes(1)[0]
    losses = modules.plain_loop.episode_gradient(plain, support, query, settings.inner_lr)

    model = setup.model()
    store = setup.store(model, tmp_path / "cache" / "trunk")
    data = encode_task(*setup.split("train"), store, kind="dual")
    episode = setup.episodes(data, store).sample(0, 0)
    ours = make_learner(setup.ctml).adapt(losses_of(model, episode, 0.0), phi, {})

    assert (ours.support_loss, ours.query_loss) == pytest.approx(losses, abs=TOLERANCE)
    assert len(ours.meta_grad) == len(plain.trained())
    for name, gradient in ours.meta_grad.items():
        theirs = plain.get_parameter(modules.plain_loop.plain_name(name)).grad
        assert theirs.abs().max() > 0, name
        assert (gradient - theirs).abs().max() <= TOLERANCE * max(1.0, float(theirs.abs().max())), name


@pytest.mark.real
@pytest.mark.slow
def test_the_command_measures_and_prints_a_table(data_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "quick.json"
    start_command("--quick", "--only", "a,d", "--threads", "1", "--out", str(out))
    result = json.loads(out.read_text(encoding="utf-8"))
    found: dict[str, Any] = result["training"]["last-two"]
    assert set(found) == {"a", "d cold", "d warm"}
    for name in ("d cold", "d warm"):
        assert found[name]["first_losses"] == pytest.approx(found["a"]["first_losses"], abs=TOLERANCE)
        assert found[name]["questions_per_s"]["median"] > 0
        assert 0 < found[name]["share_of_ceiling"]["median"] < 1.5
    assert len(found["a"]["right"]) == len(found["d cold"]["right"]) == result["settings"]["dev"]
    assert str(tmp_path) not in out.read_text(encoding="utf-8")
    printed = start_command("--table", str(out))
    assert "(d warm)" in printed and "GFLOP/s" in printed


def test_a_paired_interval_counts_questions_that_differ(modules: SimpleNamespace) -> None:
    same = modules.run.paired("1100", "1100")
    assert same["points"] == 0 and same["ci95"] == [0, 0] and same["differ"] == 0
    better = modules.run.paired("1" * 10, "0" + "1" * 9)
    assert better["points"] == pytest.approx(10) and better["differ"] == 1
    assert better["ci95"] == pytest.approx([-9.6, 29.6])


def test_the_ratio_to_the_plain_loop_is_taken_repeat_by_repeat(modules: SimpleNamespace) -> None:
    def fake(rate: float) -> dict[str, Any]:
        return {
            "dtype": "float32", "seconds": 1.0, "steps": 2, "steps_per_s": rate / 32, "questions_per_s": rate,
            "tokens_per_s": rate * 50, "operations_a_token": 1e6, "first_losses": [1.0, 1.0],
            "memory": {"peak_mb": rate},
        }  # fmt: skip

    base = [fake(1.0), fake(2.0), fake(4.0)]
    figures = modules.run.contender(
        [fake(10.0), fake(20.0), fake(44.0)], base, {"float32": {"median": 1.0}}, cold=False
    )
    assert figures["times_as_fast_as_a"] == {"median": 10, "min": 10, "max": 11}
    assert figures["share_of_ceiling"]["median"] == pytest.approx(20 * 50 * 1e6 / 1e9)
    assert figures["memory"] == {"peak_mb": 44}


def test_an_environment_that_cannot_be_made_is_a_reason_not_an_error(
    modules: SimpleNamespace, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    reason = modules.run.library_environment(tmp_path / "file" / "env")
    assert "could not be made" in reason
