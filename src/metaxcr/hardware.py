"""What the machine can do: its threads, its device, and the precision that it computes fastest.

Nothing here changes what is computed, only where, by how many threads and in which number format. A choice
made by ``auto`` is the machine's, so it is recorded with every result (environment.json).
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
# A product of the embedded encoder's feed-forward part: tokens, width, inner width.
SHAPE = (256, 384, 1536)
FASTER = (
    1.2  # what a shorter format has to gain before it is taken: it is less precise, and timings are noisy
)
REPEATS = 5
HALF_SCALE = 1024.0  # gradients within float16 layers are larger by this factor, so that they do not vanish


@cache
def processor() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def available_threads() -> int:
    """Threads that this process may keep busy.

    ``OMP_NUM_THREADS`` where it is set; otherwise the processors that the process may run on, but no more
    than its control group (a container's limit) grants.
    """
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
    """Processors that the control group and those above it grant; nothing where there is no limit."""
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        own = next((line.split(":", 2)[2] for line in lines if line.startswith("0::")), "/")
        folder = root / own.strip("/")
        for place in (folder, *folder.parents):
            with contextlib.suppress(OSError, ValueError):
                granted, period = (place / "cpu.max").read_text(encoding="utf-8").split()
                if granted != "max":
                    yield int(granted) / int(period)
            if place == root:
                break
    with contextlib.suppress(OSError, ValueError):  # the older layout
        older = [root / "cpu" / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
        quota, whole = (int(path.read_text(encoding="utf-8")) for path in older)
        yield quota / whole  # below 0 where there is no limit


def choose_device(name: str = AUTO) -> torch.device:
    """Turn the setting ``run.device`` into a device.

    Args:
        name: ``auto`` (a CUDA device, else Apple's mps, else the processor), ``cpu``, ``cuda``, ``cuda:N`` or
            ``mps``.

    Raises:
        UserError: This machine does not have it.
    """
    if name == AUTO:
        mps = torch.backends.mps.is_available()
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("mps" if mps else "cpu")
    if name not in ("cpu", "mps") and not re.fullmatch(r"cuda(:\d+)?", name):
        raise UserError(f"unknown device {name!r}", "run.device", "use auto, cpu, cuda, cuda:N or mps")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = device.index or 0
        if index >= count:
            has = f"it has {count}" if count else "PyTorch finds no CUDA device here"
            raise UserError(f"no device {name!r}: {has}", "run.device", "use auto or cpu")
        return torch.device("cuda", index)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("no device 'mps': PyTorch finds none here", "run.device", "use auto or cpu")
    return device


@dataclass(frozen=True)
class Precision:
    """The number format of the encoder's layers.

    Attributes:
        name: Of the format: a key of :data:`DTYPES`.
        why: The reason, in words.
    """

    name: str
    why: str

    @property
    def dtype(self) -> torch.dtype:
        """The format."""
        return DTYPES[self.name]


def choose_dtype(name: str = AUTO, device: torch.device = CPU) -> Precision:
    """Turn the setting ``encoder.dtype`` into a number format.

    Without instructions for it, a processor multiplies bfloat16 numbers about 25 times *slower* than float32;
    with them three times faster. So ``auto`` looks: on CUDA at what the device is built for, elsewhere at the
    time that a product of the real shape takes.

    Args:
        name: ``auto``, or a key of :data:`DTYPES`, which is taken as it is.
        device: Where the layers compute.
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


def machine_in_words(name: str, device: torch.device) -> str:
    """Where layers compute, in which number format, and why in that one: for messages.

    Args:
        name: As for :func:`choose_dtype`.
        device: As there.
    """
    precision = choose_dtype(name, device)
    return f"device {device}, {precision.name}: {precision.why}"


def _by_capability(capability: tuple[int, int], name: str) -> Precision:
    """What an NVIDIA device multiplies fastest: bfloat16 since Ampere, float16 since Volta."""
    generation = ".".join(map(str, capability))
    if capability >= (8, 0):
        return Precision("bfloat16", f"{name} (compute capability {generation}) has units for it")
    if capability >= (7, 0):
        return Precision(
            "float16", f"{name} (compute capability {generation}) has units for it, not for bfloat16"
        )
    return Precision("float32", f"{name} (compute capability {generation}) has no units for shorter formats")


@cache
def _by_time(device: str) -> Precision:
    """What a processor multiplies fastest, measured once a machine and kept in the cache folder."""
    key = {"processor": processor(), "device": device, "torch": torch.__version__, "shape": list(SHAPE)}
    key |= {
        name: os.environ[name] for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA") if name in os.environ
    }
    path = cache_folder() / f"precision-{device}.json"
    speeds = _known_speeds(path, key)
    if speeds is None:
        speeds = measure_speeds(torch.device(device))
        with contextlib.suppress(UserError):  # a cache that cannot be written only costs the next measurement
            write_json(path, key | {"gflops": speeds})
    return fastest(speeds)


def _known_speeds(path: Path, key: dict[str, Any]) -> dict[str, float] | None:
    """Speeds measured earlier on this machine; None where there are none, or the file is damaged."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        speeds = {name: float(known["gflops"][name]) for name in ("float32", "bfloat16")}
        same = {name: value for name, value in known.items() if name != "gflops"} == key
        return speeds if same and min(speeds.values()) > 0 else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def fastest(speeds: dict[str, float]) -> Precision:
    """Choose between float32 and bfloat16 by their speeds, 10^9 operations a second."""
    ratio = speeds["bfloat16"] / speeds["float32"]
    name = "bfloat16" if ratio > FASTER else "float32"
    return Precision(name, f"bfloat16 products are {ratio:.2g} times as fast as float32 ones here (measured)")


def measure_speeds(device: torch.device, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Time products of the real shape in float32 and bfloat16: 10^9 operations a second.

    One thread computes, because the answer does not depend on their number and a busy machine would blur it.

    Args:
        device: Where.
        clock: In seconds.
    """
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
                    if repeat:  # the first one sets things up
                        seconds[name] = min(seconds[name], clock() - begun)
    finally:
        torch.set_num_threads(threads)
    return {name: round(2e-9 * tokens * width * inner / s, 2) for name, s in seconds.items()}


def half_weight(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast a trained tensor for the layers' arithmetic; its gradient comes back in its own format and size.

    Within float16 layers gradients are larger by :data:`HALF_SCALE` (see :func:`leave_half`): here they
    become what they are. Other formats have the range of float32 and need no scale.

    Args:
        weight: float32.
        dtype: Of the layers' arithmetic.

    Source:
        Micikevicius et al. 2018 (Mixed Precision Training), section 3.2; a fixed scale, applied where tensors
        change their format, so that gradients of gradients are scaled rightly too.
    """
    return scale_gradient(weight, 1 / HALF_SCALE).to(dtype) if dtype == torch.float16 else weight.to(dtype)


def leave_half(hidden: Tensor) -> Tensor:
    """Cast activations to float32 or better at the end of the layers; see :func:`half_weight`."""
    wide = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
    return scale_gradient(wide, HALF_SCALE) if hidden.dtype == torch.float16 else wide


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """``x`` itself, bit by bit, with a gradient that is ``factor`` times as large."""
    fixed = x.detach()
    return fixed + factor * (x - fixed)


def float64(x: Tensor) -> Tensor:
    """``x`` in double precision, which Apple's mps does not have: then on the processor."""
    return (x.to(CPU) if x.device.type == "mps" else x).double()


@contextmanager
def memory_errors(device: torch.device) -> Iterator[None]:
    """Turn running out of memory into one line with the settings to change.

    Raises:
        UserError: The device has too little memory for what is done inside.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "not enough memory" not in str(error):
            raise
        elsewhere = "" if device.type == "cpu" else ", or use the device cpu"
        raise UserError(
            f"the memory of device {device} is exhausted",
            "run.device",
            "lower ctml.support, ctml.query or encoder.max_tokens, name fewer adapters.layers"
            f"{elsewhere}; --resume keeps what is done",
        ) from error
