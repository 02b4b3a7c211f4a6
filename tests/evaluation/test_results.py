"""Results: numbers against a direct computation, pairing, order, and the schema."""

import copy
import json
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from rich.console import Console
from rich.table import Table

from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import Predictions
from metaxcr.evaluation.results import Setting, _validator, build_results, format_table, validate_results
from metaxcr.evaluation.statistics import crossed_interval, minimum_detectable_difference, paired_difference
from metaxcr.seeding import rng

LANGS = ("en", "sw", "th")
ITEMS = 40
METHODS: list[tuple[str, str, int, tuple[int | None, ...], float]] = [
    ("none", "similarity", 0, (None,), 0.5),
    ("zero-shot", "ctml", 0, (0, 1, 2), 0.6),
    ("zero-shot-aux", "clml", 0, (0, 1, 2), 0.7),
    ("few-shot", "finetune", 16, (0, 1, 2), 0.8),
]


def answer(
    hits: Any, regime: str, method: str, lang: str, seed: int | None, k: int, **changes: Any
) -> Predictions:
    """Predictions that are right exactly where ``hits`` is true."""
    labels = [number % 2 for number in range(len(hits))]
    chosen = [label if hit else 1 - label for label, hit in zip(labels, hits, strict=True)]
    values: dict[str, Any] = {
        "task": "xcopa",
        "lang": lang,
        "split": "test",
        "data": "repaired",
        "regime": regime,
        "method": method,
        "seed": seed,
        "k": k,
        "total_labels": k,
        "ids": [f"i{number:03d}" for number in range(len(hits))],
        "probabilities": [[0.3, 0.7] if choice else [0.7, 0.3] for choice in chosen],
        "labels": labels,
    }
    return Predictions(**values | changes)


def grid(**changes: Any) -> list[Predictions]:
    """Every method of METHODS in every language."""
    generator = rng(0, "grid")
    return [
        answer(generator.random(ITEMS) < level, regime, method, lang, seed, k, **changes)
        for regime, method, k, seeds, level in METHODS
        for lang in LANGS
        for seed in seeds
    ]


def build(predictions: list[Predictions]) -> dict[str, Any]:
    return build_results(predictions, config_hash="c", data_hash="d", shares={"ctml": {"share": 1 / 3}})


def hits(predictions: list[Predictions], method: str) -> np.ndarray[Any, Any]:
    """(items, seeds): the direct average over Swahili and Thai."""
    seeds = sorted({p.seed for p in predictions if p.method == method}, key=str)
    return np.stack(
        [
            np.mean(
                [p.correct for p in predictions if (p.method, p.seed) == (method, s) and p.lang != "en"],
                axis=0,
            )
            for s in seeds
        ],
        axis=1,
    )


def test_top_level_and_rows() -> None:
    predictions = grid()
    results = build(predictions)
    assert list(results) == [
        "schema",
        "config_hash",
        "data_hash",
        "rows",
        "averages",
        "differences",
        "shares",
    ]
    assert results["shares"] == {"ctml": {"share": 0.333333}}
    assert len(results["rows"]) == len(predictions) == 30
    chosen = next(p for p in predictions if (p.method, p.lang, p.seed) == ("finetune", "th", 2))
    row = next(r for r in results["rows"] if (r["method"], r["lang"], r["seed"]) == ("finetune", "th", 2))
    expected = crossed_interval(chosen.correct.astype(float))
    assert row["acc"] == pytest.approx(chosen.correct.mean(), abs=1e-6)
    assert row["ci95"] == pytest.approx([expected.low, min(expected.high, 1)], abs=1e-6)
    assert (row["ci_kind"], row["n"], row["k"], row["total_labels"]) == ("items", ITEMS, 16, 16)


def test_averages_cluster_by_item_and_leave_english_out() -> None:
    predictions = grid()
    averages = {row["method"]: row for row in build(predictions)["averages"]}
    assert set(averages) == {"similarity", "ctml", "clml", "finetune"}
    for method, row in averages.items():
        expected = crossed_interval(hits(predictions, method))
        assert row["langs"] == ["sw", "th"]
        assert row["mean"] == pytest.approx(expected.mean, abs=1e-6)
        assert row["ci95"] == pytest.approx([expected.low, min(expected.high, 1)], abs=1e-6)
        assert row["mdd"] == pytest.approx(minimum_detectable_difference(expected.se, expected.dof), abs=1e-6)
        assert row["n"] == ITEMS
    assert (averages["similarity"]["ci_kind"], averages["similarity"]["seeds"]) == ("items", [])
    assert (averages["ctml"]["ci_kind"], averages["ctml"]["seeds"]) == ("items x seeds", [0, 1, 2])


def test_a_single_trained_seed_is_labelled_items() -> None:
    results = build([p for p in grid() if p.seed in (None, 0)])
    assert {row["ci_kind"] for row in results["averages"]} == {"items"}
    assert {row["ci_kind"] for row in results["differences"]} == {"items"}


def test_differences_are_paired_and_complete() -> None:
    predictions = grid()
    differences = {(row["a"], row["b"]): row for row in build(predictions)["differences"]}
    methods = {
        ("zero-shot/ctml", "similarity"): ("ctml", "similarity"),
        ("zero-shot-aux/clml", "similarity"): ("clml", "similarity"),
        ("few-shot/finetune/k=16", "similarity"): ("finetune", "similarity"),
        ("zero-shot-aux/clml", "zero-shot/ctml"): ("clml", "ctml"),
        ("few-shot/finetune/k=16", "zero-shot/ctml"): ("finetune", "ctml"),
    }
    assert set(differences) == set(methods)
    for labels, (a, b) in methods.items():
        expected = paired_difference(hits(predictions, a), hits(predictions, b))
        row = differences[labels]
        assert (row["mean"], row["p"]) == pytest.approx((expected.mean, expected.p), abs=1e-6)
        assert row["ci95"] == pytest.approx([expected.low, expected.high], abs=1e-6)
        assert row["langs"] == ["sw", "th"]


def test_raw_and_repaired_are_never_mixed() -> None:
    alone, both = build(grid()), build(grid() + grid(data="raw"))
    assert len(both["averages"]) == 2 * len(alone["averages"])
    assert [row for row in both["differences"] if row["data"] == "repaired"] == alone["differences"]
    assert len(both["differences"]) == 2 * len(alone["differences"])


def test_order_of_the_input_does_not_matter() -> None:
    predictions = grid()
    shuffled = [predictions[i] for i in rng(1, "shuffle").permutation(len(predictions))]
    assert json.dumps(build(shuffled)) == json.dumps(build(predictions))


def test_order_of_the_items_does_not_matter() -> None:
    predictions = grid()
    turned = [
        Predictions(
            **{
                **p.__dict__,
                "ids": p.ids[::-1],
                "probabilities": p.probabilities[::-1],
                "labels": p.labels[::-1],
            }
        )
        if i % 2
        else p
        for i, p in enumerate(predictions)
    ]
    assert build(turned) == build(predictions)


def test_seeds_that_left_out_different_items_are_compared_on_the_common_ones() -> None:
    generator = rng(2, "common")
    kept: list[Predictions] = []
    for seed, start in ((0, 0), (1, 5)):
        marks = generator.random(20) < 0.6
        ids = [f"i{number:03d}" for number in range(start, start + 20)]
        labels = [number % 2 for number in range(start, start + 20)]
        kept.append(answer(marks, "zero-shot", "ctml", "sw", seed, 0, ids=ids, labels=labels))
    (average,) = build(kept)["averages"]
    assert average["n"] == 15
    assert average["mean"] == pytest.approx(
        (kept[0].correct[5:].mean() + kept[1].correct[:15].mean()) / 2, abs=1e-6
    )


def test_english_alone_has_rows_but_no_average() -> None:
    results = build([p for p in grid(task="xcopa_en") if p.lang == "en"])
    assert (len(results["rows"]), results["averages"], results["differences"]) == (10, [], [])


def test_one_item_has_no_interval() -> None:
    results = build([answer([True], "none", "similarity", "sw", None, 0)])
    assert (results["rows"][0]["ci95"], results["averages"][0]["ci95"]) == (None, None)
    assert results["averages"][0]["mdd"] is None


def test_intervals_of_accuracies_stay_between_zero_and_one() -> None:
    results = build([answer([True] * 9 + [False], "none", "similarity", "sw", None, 0)])
    assert results["rows"][0]["ci95"][1] == results["averages"][0]["ci95"][1] == 1


def test_refuses_what_cannot_be_compared() -> None:
    with pytest.raises(UserError, match="same place"):
        build(grid() + grid()[:1])
    with pytest.raises(UserError, match="same place"):
        build([answer([True, False], "none", "similarity", "sw", seed, 0) for seed in (None, 0)])
    with pytest.raises(UserError, match="no training seed is shared"):
        build(
            [
                answer([True, False], "zero-shot", "ctml", lang, seed, 0)
                for lang, seed in (("sw", 0), ("th", 1))
            ]
        )
    with pytest.raises(UserError, match="no item in common"):
        build(
            [
                answer([True, False], "zero-shot", "ctml", "sw", seed, 0, ids=ids)
                for seed, ids in ((0, ["a", "b"]), (1, ["c", "d"]))
            ]
        )


def test_the_schema_is_a_valid_draft_2020_12_schema() -> None:
    schema = _validator().schema
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("schema",), 2, "results.json.schema"),
        (("rows", 0, "acc"), 1.5, r"results.json.rows\[0\].acc"),
        (("rows", 0, "regime"), "oneshot", "oneshot"),
        (("rows", 3, "seed"), "0", "seed"),
        (("averages", 0, "ci95"), [0.1], "ci95"),
        (("averages", 0, "ci_kind"), "bootstrap", "bootstrap"),
        (("differences", 0, "p"), -0.1, "p"),
    ],
)
def test_the_schema_refuses(place: tuple[Any, ...], value: Any, message: str) -> None:
    results = build(grid())
    target: Any = results
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    with pytest.raises(UserError, match=message):
        validate_results(results)


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        ("rows", "task lang split data regime method seed k total_labels acc n"),
        ("averages", "task langs method regime k mean ci95 ci_kind seeds mdd"),
        ("differences", "a b mean ci95 p"),
    ],
)
def test_the_schema_wants_every_key_of_the_contract_and_allows_more(part: str, keys: str) -> None:
    results = build(grid())
    results[part][0]["later"] = {"anything": 1}
    validate_results(results | {"later": []})
    for key in keys.split():
        broken = copy.deepcopy(results)
        del broken[part][0][key]
        with pytest.raises(UserError, match=f"'{key}' is a required property"):
            validate_results(broken)
    with pytest.raises(UserError, match=f"'{part}' is a required property"):
        validate_results({key: value for key, value in results.items() if key != part})


XCOPA = ("et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh")
METHODS_table: list[tuple[str, str, int, tuple[int | None, ...]]] = [
    ("few-shot", "finetune", 16, (0, 1)),
    ("few-shot", "finetune", 4, (0, 1)),
    ("pooled-shots", "finetune", 16, (0, 1)),
    ("zero-shot-aux", "clml", 0, (0, 1)),
    ("zero-shot", "ctml", 0, (0, 1)),
    ("none", "similarity", 0, (None,)),
]


def results(languages: tuple[str, ...] = XCOPA, **changes: Any) -> dict[str, Any]:
    """Every method answers item i rightly unless (i + seed) is a multiple of 4 (similarity: of 2)."""
    found = []
    for regime, method, k, seeds in METHODS_table:
        for seed in seeds:
            step = 4 if seed is not None else 2
            labels = [int((i + (seed or 0)) % step > 0) for i in range(20)]
            values: dict[str, Any] = {"task": "xcopa", "split": "test", "data": "repaired"}
            values |= {"regime": regime, "method": method, "seed": seed, "k": k, "total_labels": k}
            values |= {
                "ids": [str(i) for i in range(20)],
                "probabilities": [[0.1, 0.9]] * 20,
                "labels": labels,
            }
            found += [Predictions(lang=lang, **values | changes) for lang in languages]
    return build_results(found, config_hash="c", data_hash="d", shares={})


def lines(content: dict[str, Any]) -> list[str]:
    console = Console(width=100, color_system=None, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(format_table(content))
    return console.export_text().splitlines()


def test_one_line_per_method_with_similarity_first_and_the_average_last() -> None:
    assert isinstance(format_table(results()), Table)
    text = lines(results())
    header = next(line for line in text if "accuracy, %" in line)
    assert header.split() == ["accuracy,", "%", *XCOPA, "average"]
    assert "xcopa, test, repaired: 20 items, mean of 2 seeds" in text[0]
    body = [line.split() for line in text[text.index(header) + 2 :] if line.split()]
    assert [line[0] for line in body[:6]] == [
        "similarity",
        "zero-shot/ctml",
        "zero-shot-aux/clml",
        "few-shot/finetune/k=4",
        "few-shot/finetune/k=16",
        "pooled-shots/finetune/k=16",
    ]
    assert body[0][1:13] == ["50.0"] * 12
    assert body[1][1:13] == ["75.0"] * 12
    assert body[0][13].startswith("±") and body[0][13].endswith("*")
    assert body[1][13].startswith("±") and not body[1][13].endswith("*")


def test_fits_into_100_columns_with_english_and_twelve_languages() -> None:
    text = lines(results(("en", *XCOPA)))
    assert max(map(len, text)) <= 100
    header = next(line for line in text if "accuracy, %" in line)
    assert header.split()[2] == "en"
    assert sum("finetune" in line for line in text) == 3  # no line was folded
    assert not any("…" in line for line in text)


def test_many_languages_are_cut_into_tables_with_one_average() -> None:
    text = lines(results(tuple(f"l{chr(97 + i)}" for i in range(15))))
    assert sum("accuracy, %" in line for line in text) == 2
    assert sum("average" in line for line in text) == 1
    assert max(map(len, text)) <= 100


def test_starter_tasks_are_headed_as_a_demonstration() -> None:
    assert "demonstration, not a benchmark" in lines(results(task="starter_target"))[0]
    assert not any("demonstration" in line for line in lines(results()))


def test_raw_stands_below_repaired_and_english_alone_has_no_average() -> None:
    both = results()
    raw = results(data="raw")
    english = results(("en",), task="xcopa_en")
    merged = {key: both[key] + raw[key] + english[key] for key in ("rows", "averages", "differences")}
    text = lines(both | merged)
    titles = [line.strip() for line in text if " items" in line and "±" not in line]
    assert [title.split(":")[0] for title in titles] == [
        "xcopa, test, repaired",
        "xcopa, test, raw",
        "xcopa_en, test, repaired",
    ]
    assert sum("average" in line for line in text) == 2


def test_settings_in_words() -> None:
    assert Setting("none", "similarity", 0).label == "similarity"
    assert Setting("zero-shot", "ctml", 0).label == "zero-shot/ctml"
    assert Setting("few-shot", "finetune", 16).label == "few-shot/finetune/k=16"
    assert Setting("few-shot", "finetune", 16).title == "few-shot, finetune, 16 shots"
    assert Setting("none", "similarity", 0).title == "similarity (untrained)"
    order = [Setting("none", "similarity", 0), Setting("few-shot", "a", 4), Setting("few-shot", "a", 16)]
    assert sorted(order[::-1], key=lambda setting: setting.order) == order
