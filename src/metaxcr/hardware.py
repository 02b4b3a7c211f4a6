"""The machine: its threads, its device, and the number format that it computes fastest.

Nothing here changes what is computed, only where, by how many threads and in which format. What ``auto``
chooses depends on the machine, so it is recorded with every result (environment.json).
"""

import contextlib
import json
import math
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from metaxcr.errors import UserError
from metaxcr.files import cache_folder, write_json

AUTO = "auto"
CPU = torch.device("cpu")
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
SHAPE = (256, 384, 1536)  # tokens, width, inner width: a product of the embedded encoder's feed-forward part
FASTER = 1.2  # speed-up needed to choose bfloat16: it is less precise, and timings are noisy
REPEATS = 5
HALF_SCALE = 1024.0  # gradients within float16 layers are scaled by this, so that they do not underflow


@cache
def processor() -> str:
    """Name of the processor."""
    try:
        found = re.search(r"^model name[^:]*:(.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    except OSError:
        return platform.processor()
    return found[1].strip() if found else ""


def available_threads() -> int:
    """``OMP_NUM_THREADS`` if it is set; else the processors that this process and its container may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    quota = min((q for q in _quotas() if q > 0), default=math.inf)
    return max(1, math.ceil(min(cores, quota)))


def _quotas(root: Path = Path("/sys/fs/cgroup")) -> Iterator[float]:
    """Numbers of processors that the control group and those above it allow; none if there is no limit."""
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        own = next((line.split(":", 2)[2] for line in lines if line.startswith("0::")), "/")
        folder = root / own.strip("/")
        for place in (folder, *folder.parents):
            with contextlib.suppress(OSError, ValueError):
                allowed, period = (place / "cpu.max").read_text(encoding="utf-8").split()
                if allowed != "max":
                    yield int(allowed) / int(period)
            if place == root:
                break
    with contextlib.suppress(OSError, ValueError):  # cgroup version 1
        older = [root / "cpu" / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
        quota, period_us = (int(path.read_text(encoding="utf-8")) for path in older)
        yield quota / period_us  # below 0 if there is no limit


def choose_device(name: str = AUTO) -> torch.device:
    """Turn the setting ``run.device`` into a device; ``auto``: CUDA, else Apple's mps, else the CPU."""
    mps = torch.backends.mps.is_available()
    if name == AUTO:
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("mps" if mps else "cpu")
    if name not in ("cpu", "mps") and not re.fullmatch(r"cuda(:\d+)?", name):
        raise UserError(f"unknown device {name!r}", "run.device", "use auto, cpu, cuda, cuda:N or mps")
    device = torch.device(name)
    lacks = "PyTorch finds none here" if device.type == "mps" and not mps else ""
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        device = torch.device("cuda", device.index or 0)
        if device.index >= count:
            lacks = f"it has {count}" if count else "PyTorch finds no CUDA device here"
    if lacks:
        raise UserError(f"no device {name!r}: {lacks}", "run.device", "use auto or cpu")
    return device


@dataclass(frozen=True)
class Precision:
    """The number format of the encoder's layers, a key of :data:`DTYPES`, and the reason for it."""

    name: str
    why: str

    @property
    def dtype(self) -> torch.dtype:
        """The format."""
        return DTYPES[self.name]


def choose_dtype(name: str = AUTO, device: torch.device = CPU) -> Precision:
    """Turn the setting ``encoder.dtype`` into a number format.

    Without instructions for it, a processor multiplies bfloat16 numbers about 25 times *slower* than float32;
    with them three times faster. So ``auto`` decides on CUDA by the device's compute capability, elsewhere by
    the time that a product of the real shape takes.
    """
    if name in DTYPES:
        return Precision(name, "set by encoder.dtype")
    if name != AUTO:
        raise UserError(
            f"unknown number format {name!r}", "encoder.dtype", f"use auto or {', '.join(DTYPES)}"
        )
    if device.type == "cuda":
        return _by_capability(torch.cuda.get_device_capability(device), torch.cuda.get_device_name(device))
    return _by_time("cpu" if device.type == "meta" else device.type)  # meta: shapes without numbers


def describe_precision(name: str, device: torch.device) -> str:
    """The device, the number format of :func:`choose_dtype`, and the reason for it: for messages."""
    precision = choose_dtype(name, device)
    return f"device {device}, {precision.name}: {precision.why}"


def _by_capability(capability: tuple[int, int], name: str) -> Precision:
    """The fastest format of an NVIDIA device: bfloat16 since Ampere, float16 since Volta."""
    card = f"{name} (compute capability {'.'.join(map(str, capability))})"
    if capability >= (8, 0):
        return Precision("bfloat16", f"{card} has units for it")
    if capability >= (7, 0):
        return Precision("float16", f"{card} has units for it, not for bfloat16")
    return Precision("float32", f"{card} has no units for shorter formats")


@cache
def _by_time(device: str) -> Precision:
    """The fastest format of a processor, measured once a machine and kept in the cache folder."""
    key = {"processor": processor(), "device": device, "torch": torch.__version__, "shape": list(SHAPE)}
    limits = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
    key |= {name: os.environ[name] for name in limits if name in os.environ}
    path = cache_folder() / f"precision-{device}.json"
    speeds = _known_speeds(path, key)
    if speeds is None:
        speeds = measure_speeds(torch.device(device))
        with contextlib.suppress(UserError):  # without a cache it is measured again next time
            write_json(path, key | {"gflops": speeds})
    return faster_dtype(speeds)


def _known_speeds(path: Path, key: dict[str, Any]) -> dict[str, float] | None:
    """Speeds measured earlier on this machine; None if there are none, or the file is damaged."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        speeds = {name: float(known["gflops"][name]) for name in ("float32", "bfloat16")}
        same = {name: value for name, value in known.items() if name != "gflops"} == key
        return speeds if same and min(speeds.values()) > 0 else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def faster_dtype(speeds: dict[str, float]) -> Precision:
    """Choose between float32 and bfloat16 by their speeds, from :func:`measure_speeds`."""
    ratio = speeds["bfloat16"] / speeds["float32"]
    name = "bfloat16" if ratio > FASTER else "float32"
    return Precision(name, f"bfloat16 products are {ratio:.2g} times as fast as float32 ones here (measured)")


def measure_speeds(device: torch.device, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Time products of the real shape in float32 and bfloat16, on one thread: 10^9 operations a second."""
    tokens, width, inner = SHAPE
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = {name: math.inf for name in ("float32", "bfloat16")}
        with torch.no_grad():
            for name in seconds:
                x = torch.ones(tokens, width, dtype=DTYPES[name], device=device)
                weight = torch.ones(inner, width, dtype=DTYPES[name], device=device)
                for repeat in range(REPEATS + 1):
                    begun = clock()
                    F.linear(x, weight)[0, 0].item()  # waits for the device
                    if repeat:  # the first one is a warm-up
                        seconds[name] = min(seconds[name], clock() - begun)
    finally:
        torch.set_num_threads(threads)
    return {name: round(2e-9 * tokens * width * inner / s, 2) for name, s in seconds.items()}


def cast_weight(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast a float32 tensor for the layers' arithmetic; its gradient comes back in float32 and unscaled.

    Within float16 layers gradients are scaled by :data:`HALF_SCALE` (see :func:`upcast`); here the scale is
    removed. Other formats have the range of float32 and need no scale.

    Source: Micikevicius et al. 2018 (Mixed Precision Training), section 3.2; a fixed scale, applied where
    tensors change their format, so that gradients of gradients are scaled correctly, too.
    """
    return scale_gradient(weight, 1 / HALF_SCALE).to(dtype) if dtype == torch.float16 else weight.to(dtype)


def upcast(hidden: Tensor) -> Tensor:
    """Cast activations to float32 or better at the end of the layers; see :func:`cast_weight`."""
    wide = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
    return scale_gradient(wide, HALF_SCALE) if hidden.dtype == torch.float16 else wide


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """``x`` itself, bit by bit, with a gradient that is multiplied by ``factor``."""
    fixed = x.detach()
    return fixed + factor * (x - fixed)


def float64(x: Tensor) -> Tensor:
    """``x`` in double precision; on the CPU if the device is Apple's mps, which does not have it."""
    return (x.to(CPU) if x.device.type == "mps" else x).double()


@contextmanager
def memory_errors(device: torch.device) -> Iterator[None]:
    """Turn running out of memory into a UserError that names the settings to change."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "not enough memory" not in str(error):
            raise
        elsewhere = "" if device.type == "cpu" else ", or use the device cpu"
        fix = "lower ctml.support, ctml.query or encoder.max_tokens, name fewer adapters.layers"
        what = f"the memory of device {device} is exhausted"
        raise UserError(what, "run.device", f"{fix}{elsewhere}; --resume keeps what is done") from error
