"""The terminal table: width, order, content."""

from typing import Any

from rich.console import Console
from rich.table import Table

from metaxcr.evaluation.predictions import Predictions
from metaxcr.evaluation.results import build_results
from metaxcr.evaluation.table import format_table

XCOPA = ("et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh")
METHODS: list[tuple[str, str, int, tuple[int | None, ...]]] = [
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
    for regime, method, k, seeds in METHODS:
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
