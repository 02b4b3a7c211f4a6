"""Threads, devices and precision: chosen by what the machine can do."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from metaxcr import hardware
from metaxcr.autodiff import value_and_grad
from metaxcr.errors import UserError
from metaxcr.hardware import (
    HALF_SCALE,
    Precision,
    available_threads,
    cast_weight,
    choose_device,
    choose_dtype,
    faster_dtype,
    measure_speeds,
    memory_errors,
    scale_gradient,
    upcast,
)
from metaxcr.model.batch import TaskData, make_batch
from metaxcr.model.choice_model import ChoiceModel


@pytest.fixture
def fresh_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder in which nothing has been measured yet."""
    monkeypatch.setenv("METAXCR_CACHE", str(tmp_path))
    hardware._by_time.cache_clear()
    yield tmp_path
    hardware._by_time.cache_clear()


def test_bfloat16_is_taken_where_it_is_faster_and_not_where_it_is_emulated() -> None:
    assert faster_dtype({"float32": 60.0, "bfloat16": 200.0}).name == "bfloat16"
    assert faster_dtype({"float32": 33.9, "bfloat16": 1.3}).name == "float32"
    assert faster_dtype({"float32": 60.0, "bfloat16": 63.0}).name == "float32"  # noise is no reason


def test_the_speeds_are_those_of_the_products(fresh_machine: Path) -> None:
    ticks = iter(range(1000))
    speeds = measure_speeds(torch.device("cpu"), lambda: float(next(ticks)))
    tokens, width, inner = hardware.SHAPE
    assert speeds == dict.fromkeys(("float32", "bfloat16"), round(2e-9 * tokens * width * inner, 2))


def test_auto_measures_once_and_remembers(fresh_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def measure(device: torch.device) -> dict[str, float]:
        calls.append(device)
        return {"float32": 10.0, "bfloat16": 40.0}

    monkeypatch.setattr(hardware, "measure_speeds", measure)
    first = choose_dtype()
    hardware._by_time.cache_clear()  # another process
    assert choose_dtype() == first == Precision("bfloat16", first.why)
    assert "4 times" in first.why and len(calls) == 1
    hardware._by_time.cache_clear()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")  # another machine, as far as products go
    choose_dtype()
    assert len(calls) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"gflops": 3}', '{"gflops": {"float32": "x"}}'])
def test_a_damaged_measurement_is_made_again(
    fresh_machine: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(hardware, "measure_speeds", lambda device: {"float32": 10.0, "bfloat16": 1.0})
    path = fresh_machine / "precision-cpu.json"
    path.write_text(content, encoding="utf-8")
    assert choose_dtype().name == "float32"
    assert json.loads(path.read_text(encoding="utf-8"))["gflops"]["bfloat16"] == 1.0


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("METAXCR_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(hardware, "measure_speeds", lambda device: {"float32": 10.0, "bfloat16": 1.0})
    hardware._by_time.cache_clear()
    assert choose_dtype().name == "float32"
    hardware._by_time.cache_clear()


def test_a_named_precision_is_taken_as_it_is_and_a_misspelt_one_refused() -> None:
    assert choose_dtype("float16").dtype == torch.float16
    with pytest.raises(UserError, match="float64"):
        choose_dtype("float64")


@pytest.mark.parametrize(
    ("capability", "name"),
    [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float16"), ((6, 1), "float32")],
)
def test_cuda_devices_are_taken_by_what_they_are_built_for(capability: tuple[int, int], name: str) -> None:
    assert hardware._by_capability(capability, "card").name == name


def test_devices_that_are_not_there_are_refused() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    for name in ("cuda:99", "mps", "tpu", "cuda:x", "CPU"):
        with pytest.raises(UserError, match=name):
            choose_device(name)


def test_auto_takes_the_first_cuda_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda", 0)


def test_threads_follow_the_users_word_and_the_containers_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(hardware, "_quotas", lambda: iter([]))
    assert available_threads() == 8
    monkeypatch.setattr(hardware, "_quotas", lambda: iter([2.5, 6.0, -1e-5]))
    assert available_threads() == 3
    monkeypatch.setattr(hardware, "_quotas", lambda: iter([0.2]))
    assert available_threads() == 1
    for word, threads in (("5", 5), ("4,2", 4), ("no", 1), ("0", 1)):
        monkeypatch.setenv("OMP_NUM_THREADS", word)
        assert available_threads() == threads


def test_limits_are_read_from_the_control_group_and_those_above_it(tmp_path: Path) -> None:
    assert list(hardware._quotas(tmp_path)) == []
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert list(hardware._quotas(tmp_path)) == [1.5]
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert list(hardware._quotas(tmp_path)) == [0.5]


def test_waiting_threads_sleep_unless_the_user_says_otherwise() -> None:
    code = "import metaxcr, os; print(os.environ['OMP_WAIT_POLICY'])"
    for given, policy in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        env = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | given
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == policy


def test_scaling_a_gradient_changes_no_bit_and_works_for_second_derivatives() -> None:
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.equal(scale_gradient(x, 8.0), x)
    (first,) = torch.autograd.grad((scale_gradient(x, 8.0) ** 3).sum(), x, create_graph=True)
    assert torch.allclose(first, 8 * 3 * x**2)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.allclose(second, 8 * 8 * 6 * x)


def test_gradients_through_float16_layers_come_back_in_their_own_size() -> None:
    weight = torch.full((4,), 0.5, requires_grad=True)
    hidden = cast_weight(weight, torch.float16)
    tiny = 1e-7  # below the smallest float16 number
    upcast(hidden).sum().mul(tiny).backward()
    assert weight.grad is not None
    assert torch.allclose(weight.grad, torch.full((4,), tiny), rtol=1e-2)
    assert HALF_SCALE * tiny > torch.finfo(torch.float16).tiny


def test_a_model_in_float16_has_the_gradients_of_float32(
    toy_model: Callable[..., ChoiceModel], toy_task: Callable[..., TaskData], toy_store: object
) -> None:
    data = toy_task()
    batch = make_batch(data, range(8), toy_store)  # type: ignore[arg-type]
    full, half = toy_model(), toy_model(dtype=torch.float16)
    noise = torch.Generator().manual_seed(0)
    phi = {n: p + 0.05 * torch.randn(p.shape, generator=noise) for n, p in full.params().items()}
    small = 1e-5

    def gradient(model: ChoiceModel) -> dict[str, Tensor]:
        return value_and_grad(lambda p: small * model.loss(p, batch), phi)[1]

    exact, rough = gradient(full), gradient(half)
    for name, g in exact.items():
        one, other = g.double().flatten(), rough[name].double().flatten()
        # The two arithmetics differ by a few per cent, more on some processors than on others; a
        # gradient that falls below float16's smallest number is off by far more than this.
        assert float(one @ other / (one.norm() * other.norm())) > 0.98, name
        assert abs(float(other.norm() / one.norm()) - 1) < 0.2, name


def test_running_out_of_a_devices_memory_is_one_line_that_names_settings() -> None:
    with (
        pytest.raises(UserError, match=r"run\.device.*ctml\.support"),
        memory_errors(torch.device("cuda", 0)),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_running_out_of_the_processors_memory_is_the_same_line_and_other_errors_stay() -> None:
    cpu = torch.device("cpu")
    with pytest.raises(UserError, match="memory of device cpu"), memory_errors(cpu):
        raise RuntimeError(
            "[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"
        )
    with pytest.raises(RuntimeError, match="shapes"), memory_errors(cpu):
        raise RuntimeError("shapes do not fit")
