"""The readers of a run folder's files: valid values, or a message with the file and the place in it."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from metaxcr.errors import UserError
from metaxcr.evaluation.results import read_results
from metaxcr.records import (
    damaged,
    read_alignment,
    read_config_text,
    read_costs,
    read_environment,
    read_events,
    read_shots,
)

STAGE = {"stage": "ctml", "seconds": 1.5, "token_passes": 3, "peak_rss_mb": 10}
RESULTS = {"schema": 1, "config_hash": "a", "data_hash": "b", "rows": [], "averages": [], "differences": []}
PARAMETERS = {"trained": 1, "encoder": 10, "share": 0.1, "share_without_embeddings": 0.2}
ROW = {"language": "sw", "stack": "encoder", "layer": 0, "retrieval": 0.5, "ci95": [0.4, 0.6]}


def test_lines_that_are_no_events_are_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    good = {"stage": "ctml", "step": 1, "seed": 0, "source": "a\u2028b", "more": [1]}
    lines = [
        json.dumps(good, ensure_ascii=False), "{", "[]", '{"stage": "ctml"}', '{"stage": 1, "step": 1}',
        '{"stage": "x", "step": -1}', '{"stage": "x", "step": 1, "query_loss": "low"}', "[" * 10**5,
        '{"stage": "x", "step": ' + "9" * 5000 + "}", '{"stage": "x", "step": 1, "reward": 1e300}',
        '{"stage": "x", "step": 1, "probabilities": {"a": null}}', '{"stage": "x", "step": true}',
    ]  # fmt: skip
    path.write_bytes("\n".join(lines).encode() + b'\n{"stage": "x\xff", "step": 2}\n{"stage"')
    events, bad = read_events(path)
    assert events[0] == good
    assert [event["step"] for event in events] == [1, 2]
    assert bad == [*range(2, 13), 14]


def test_numbers_that_are_not_finite_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"stage": "ctml", "step": 0, "reward": NaN, "query_loss": Infinity, "loss": 0.5}\n')
    (event,), _ = read_events(path)
    assert (event["reward"], event["query_loss"], event["loss"]) == (None, None, 0.5)


READERS: list[tuple[Callable[[Path], Any], Any, list[tuple[tuple[Any, ...], Any]]]] = [
    (read_costs, {"stages": [STAGE], "trunk": {"bytes": 1}, "total_seconds": 2},
     [(("stages",), {}), (("stages", 0), 1), (("stages", 0, "seconds"), math.nan),
      (("stages", 0, "stage"), 1),
      (("stages", 0, "token_passes"), 10**400), (("trunk",), []), (("total_seconds",), "2"),
      (("stages", 0, "seconds"), None), (("stages", 0, "peak_rss_mb"), True)]),
    (read_environment, {"threads": 2, "dtype": "float32", "encoder": {"name": "a", "revision": None}},
     [(("threads",), "2"), (("dtype",), None), (("encoder",), "x"), (("encoder", "revision"), 3)]),
    (read_shots, {"k": 2, "seed": 0, "ids": ["a", "b"]},
     [(("k",), -1), (("ids",), "ab"), (("ids", 0), 3), (("seed",), 2**70)]),
    (read_alignment, {"rows": [ROW]},
     [(("rows",), ROW), (("rows", 0, "ci95"), [0.1]), (("rows", 0, "layer"), 1.5)]),
    (read_results, {**RESULTS, "shares": {"parameters": PARAMETERS, "leaks": None}},
     [(("rows",), [{}]), (("schema",), 2), (("shares", "parameters", "trained"), "many"), (("shares",), []),
      (("shares", "leaks"), {"count": 1}), (("shares", "stack"), {"en": "task"})]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("read", "good", "changes"), READERS, ids=lambda value: getattr(value, "__name__", "")
)
def test_types_and_bounds(
    tmp_path: Path, read: Callable[[Path], Any], good: Any, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(good))
    assert read(path) == good or read is read_alignment
    for place, value in changes:
        bad = json.loads(json.dumps(good))
        inside = bad
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = value
        path.write_text(json.dumps(bad))
        with pytest.raises(UserError) as raised:
            read(path)
        assert str(path) in str(raised.value), place
    for text in ("", "{", "[]", "null", '{"a":' * 10**4, "\ufeff{"):
        path.write_text(text)
        with pytest.raises(UserError):
            read(path)
    path.unlink()
    with pytest.raises(UserError):
        read(path)
    path.mkdir()
    with pytest.raises(UserError):
        read(path)


def test_settings_of_a_report(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("run: {name: x, regimes: [few-shot]}\nnew: 1\n")
    text, config = read_config_text(path)
    assert text == path.read_text() and config["run"]["regimes"] == ["few-shot"] and config["new"] == 1
    for text in (
        "run: 3",
        "sampler: {floor: high}",
        "run: {regimes: few-shot}",
        "sources: [1]",
        "- 1",
        "a: [",
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=r"config\.yaml"):
            read_config_text(path)


def test_a_page_of_a_damaged_file_says_so(tmp_path: Path) -> None:
    kinds = (KeyError, TypeError, OverflowError, AttributeError, UndefinedError)
    for error in (kind("k") for kind in kinds):
        with pytest.raises(UserError, match="the account is damaged"), damaged("the account", tmp_path, "x"):
            raise error
    with pytest.raises(OSError), damaged("the account", tmp_path, "x"):
        raise OSError
