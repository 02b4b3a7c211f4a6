"""From predictions to ``results.json`` (rows, averages over languages, paired differences) and its table."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jsonschema import Draft202012Validator
from rich import box
from rich.table import Table
from rich.text import Text

from metaxcr.config.regimes import ALONE, REGIMES
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import Predictions
from metaxcr.evaluation.statistics import (
    Scores,
    accuracy,
    accuracy_difference,
    common_seeds,
    named_seeds,
    score_tables,
    target_languages,
)
from metaxcr.parse import read_json_object
from metaxcr.records import AGAIN, Record, Shares, checked

SCHEMA = 1
DIGITS = 6  # of every float: enough for any use, and the same text on machines whose last bits differ
BASELINE = "similarity"
DEMONSTRATION = "demonstration, not a benchmark"
_LANGUAGES_A_TABLE = 12  # more do not fit into 100 columns


class Place(NamedTuple):
    """Where accuracies are measured; only those of one place are compared."""

    task: str
    split: str
    data: str


class Setting(NamedTuple):
    """What was trained and with which labels: one colour in every figure, one row in every table."""

    regime: str
    method: str
    k: int

    @property
    def label(self) -> str:
        """The name in files, such as ``few-shot/finetune/k=16`` or ``similarity``."""
        name = self.method if self.regime == "none" else f"{self.regime}/{self.method}"
        return f"{name}/k={self.k}" if self.k else name

    @property
    def title(self) -> str:
        """The setting in words."""
        if self.regime == "none":
            return f"{self.method} (untrained)"
        shots = f", {self.k} shots" if self.k else ""
        return f"{self.regime}, {self.method}{shots}"

    @property
    def order(self) -> tuple[int, int, str]:
        """Sort key: baseline first, then by how many target-language labels a regime may see."""
        return regime_order(self.regime), self.k, self.method


def regime_order(regime: str) -> int:
    """Position of a regime in tables; unknown ones come last."""
    return list(REGIMES).index(regime) if regime in REGIMES else len(REGIMES)


Line = tuple[Place, Setting]  # a line of a table: every language and seed of one setting at one place
Runs = dict[str, dict[int | None, Predictions]]  # language -> seed -> predictions


def build_results(
    predictions: Sequence[Predictions], *, config_hash: str, data_hash: str, shares: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of ``results.json``, validated; the same input in any order gives the same output.

    An average covers the target languages of one (task, split, data, regime, method, k), each with the same
    weight, on the items that all its seeds have in common; its interval takes the item ids, not the
    (item, language) pairs, as the sample, crossed with the seeds. Its ``mdd`` is the smallest true
    distance from a fixed number (chance, a published figure) that 80 % of such experiments would find at
    the 5 % level; the ``mdd`` of a difference is the same for the paired comparison. ``shares`` are copied.

    Raises:
        UserError: Two predictions are of the same run, or the seeds of a method have no item in common.
    """
    ordered = sorted(predictions, key=lambda p: (_line(p), p.lang, -1 if p.seed is None else p.seed))
    lines = _target_lines(ordered)
    differences = [_difference(a, b, lines) for a, b in _comparisons(list(lines))]
    results: Record = rounded(
        {
            "schema": SCHEMA,
            "config_hash": config_hash,
            "data_hash": data_hash,
            "rows": [_row(item) for item in ordered],
            "averages": [_average(line, runs) for line, runs in lines.items()],
            "differences": [row for row in differences if row],
            "shares": dict(shares),
        }
    )
    validate_results(results)
    return results


def _line(item: Predictions) -> Line:
    return Place(item.task, item.split, item.data), Setting(item.regime, item.method, item.k)


def _target_lines(ordered: Iterable[Predictions]) -> dict[Line, Runs]:
    """The predictions in target languages by line, language and seed."""
    lines: dict[Line, Runs] = {}
    for item in ordered:
        seeds = lines.setdefault(_line(item), {}).setdefault(item.lang, {})
        if item.seed in seeds or (seeds and None in (item.seed, *seeds)):
            raise UserError("two predictions claim the same place", item.name, "give each run its own folder")
        seeds[item.seed] = item
    targets = {line: {lang: runs[lang] for lang in target_languages(runs)} for line, runs in lines.items()}
    return {line: runs for line, runs in targets.items() if runs}


def _row(item: Predictions) -> Record:
    keys = ("task", "lang", "split", "data", "regime", "method", "seed", "k", "total_labels")
    found = accuracy(item.correct.astype(float)[:, None])
    row: Record = {key: getattr(item, key) for key in keys}
    return row | {"acc": found.mean, "n": found.n, "ci95": found.ci95, "ci_kind": found.kind}


def _average(line: Line, runs: Runs) -> Record:
    place, setting = line
    seeds, (table,) = _tables([runs], list(runs), setting.label)
    found = accuracy(table)
    labels = max(item.total_labels for by_seed in runs.values() for item in by_seed.values())
    row: Record = place._asdict() | setting._asdict()
    row |= {"langs": list(runs), "seeds": named_seeds(seeds), "total_labels": labels, "n": found.n}
    row |= {"mean": found.mean, "ci95": found.ci95, "ci_kind": found.kind}
    return row | {"se": found.se, "dof": found.dof, "mdd": found.mdd}


def _comparisons(lines: Sequence[Line]) -> list[tuple[Line, Line]]:
    """Trained settings with the baseline, those with target labels with zero-shot, CLML with none."""
    pairs = [(a, b) for a in lines for b in lines if a[0] == b[0]]
    baseline = [(a, b) for a, b in pairs if a[1].regime != "none" and b[1][:2] == ("none", BASELINE)]
    more = [
        (a, b) for a, b in pairs if a[1].regime not in ("none", "zero-shot") and b[1].regime == "zero-shot"
    ]
    same = [(a, b) for a, b in pairs if b[1] == a[1]._replace(method=ALONE) != a[1]]
    return baseline + more + same


def _difference(a: Line, b: Line, lines: Mapping[Line, Runs]) -> Record | None:
    langs = sorted(lines[a].keys() & lines[b].keys())
    if not langs:
        return None
    seeds, (first, second) = _tables([lines[a], lines[b]], langs, f"{a[1].label}, {b[1].label}")
    if len(first) < 2:
        return None
    found = accuracy_difference(first, second)
    row: Record = a[0]._asdict() | {"a": a[1].label, "b": b[1].label}
    row |= {"langs": langs, "seeds": named_seeds(seeds)}
    row |= {"mean": found.mean, "ci95": found.ci95, "ci_kind": found.kind}
    return row | {"p": found.p, "se": found.se, "dof": found.dof, "n": found.n, "mdd": found.mdd}


def _tables(sides: Sequence[Runs], langs: Sequence[str], where: str) -> tuple[list[int | None], list[Scores]]:
    """The seeds that all sides share, and one table of shape (items, seeds) a side."""
    scores = [{x: {seed: p.scores for seed, p in runs[x].items()} for x in langs} for runs in sides]
    seeds = common_seeds(scores, langs)
    if not seeds:
        raise UserError("no training seed is shared by what is compared", where, "evaluate the same seeds")
    return seeds, score_tables(scores, langs, seeds)


def rounded(value: Any) -> Any:
    """Round every float of nested values to :data:`DIGITS` digits."""
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0  # + 0.0 turns -0.0 into 0.0
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def read_results(path: Path) -> Record:
    """Read ``results.json``."""
    results = read_json_object(path, AGAIN)
    validate_results(results, str(path))
    return results | {"shares": checked(Shares, results["shares"], f"{path}.shares")}


def validate_results(results: Mapping[str, Any], where: str = "results.json") -> None:
    """Check results against the JSON Schema that ships with the package."""
    error = next(iter(sorted(_validator().iter_errors(results), key=lambda e: list(map(str, e.path)))), None)
    if error is not None:
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.path)
        what = error.message if len(error.message) < 200 else f"{error.message[:200]}..."
        raise UserError(f"results do not match the schema: {what}", f"{where}{place}")


@cache
def _validator() -> Draft202012Validator:
    text = resources.files("metaxcr.evaluation").joinpath("results.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def format_table(results: Mapping[str, Any]) -> Table:
    """Return one block per (task, split, data): a line per method, a column per language, the average last.

    Accuracies are in per cent, averaged over the seeds. The average is over the target languages, English
    excluded, with half of its 95 % interval; a star marks an interval over the items only. The untrained
    baseline comes first. The table fits into 100 columns, whatever the number of languages.
    """
    grid = Table.grid()
    averages = {_row_line(row): row for row in results["averages"]}
    places = {_row_line(row)[0] for row in results["rows"]}
    for place in sorted(places, key=lambda place: (place.task, place.split, place.data != "repaired")):
        rows = [row for row in results["rows"] if _row_line(row)[0] == place]
        languages = sorted({row["lang"] for row in rows}, key=lambda lang: (lang != "en", lang))
        grid.add_row(_title(rows))
        for start in range(0, len(languages), _LANGUAGES_A_TABLE):
            end = start + _LANGUAGES_A_TABLE
            grid.add_row(_table_block(rows, averages, languages[start:end], last=end >= len(languages)))
            grid.add_row("")
    if any(row["ci95"] is not None for row in results["averages"]):
        grid.add_row(Text("± half of the 95 % interval over items x seeds; * over items only", style="dim"))
    return grid


def _table_block(
    rows: Sequence[Record], averages: Mapping[Line, Record], languages: Sequence[str], *, last: bool
) -> Table:
    # The box already separates the columns by a space; padding would take a dozen columns more.
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False)
    table.add_column("accuracy, %", overflow="fold")
    for language in languages:
        table.add_column(language, justify="right", no_wrap=True)
    lines = sorted({_row_line(row) for row in rows}, key=lambda line: line[1].order)
    last = last and any(line in averages for line in lines)
    if last:
        table.add_column("average", no_wrap=True)
    for line in lines:
        cells = [line[1].label]
        for language in languages:
            found = [row["acc"] for row in rows if row["lang"] == language and _row_line(row) == line]
            cells.append(_percent(float(np.mean(found))) if found else "")
        table.add_row(*cells, *([_shown_average(averages.get(line))] if last else []))
    return table


def _row_line(row: Record) -> Line:
    return Place(row["task"], row["split"], row["data"]), Setting(row["regime"], row["method"], row["k"])


def _title(rows: Sequence[Record]) -> Text:
    first, counts = rows[0], sorted({row["n"] for row in rows})
    items = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    seeds = len({row["seed"] for row in rows if row["seed"] is not None})
    title = f"{first['task']}, {first['split']}, {first['data']}: {items} items"
    title += f", mean of {seeds} seeds" if seeds > 1 else ""
    title += f": {DEMONSTRATION}" if first["task"].startswith("starter") else ""
    return Text(title, style="bold")


def _shown_average(row: Record | None) -> str:
    if row is None:
        return ""
    mean = _percent(row["mean"])
    if row["ci95"] is None:
        return mean
    # the half that was not clipped at 0 or 1
    half = max(row["mean"] - row["ci95"][0], row["ci95"][1] - row["mean"])
    return f"{mean} ±{100 * half:.1f}{'*' if row['ci_kind'] == 'items' else ''}"


def _percent(fraction: float) -> str:
    text = f"{100 * fraction:.1f}"
    return "100" if text == "100.0" else text  # as wide as the others
