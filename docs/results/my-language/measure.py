"""What 16, 32 and 64 examples of one's own give: XCOPA val to adapt on, XCOPA test to look at.

python docs/results/my-language/measure.py OUT.jsonl   (goes on where it stopped)

The meta-adapter that comes with the package, one seed; the adapted model is evaluated whether the rule would
keep it or not, so that adapting itself is judged. The texts of val, without labels, were part of the
meta-adapter's alignment data; those of test were not.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from metaxcr.api import MetaXCR
from metaxcr.data.example import draw_shots
from metaxcr.data.registry import load
from metaxcr.evaluation.statistics import crossed_interval, language_average, paired_difference
from metaxcr.fewshot.adaptation import (
    Settings,
    encode_examples,
    finetune_rows,
    finetune_settings,
    predict_rows,
    similarity_baseline,
)
from metaxcr.fewshot.model_selection import HeldOut
from metaxcr.fewshot.user_examples import examples_of_split
from metaxcr.model.build import memory_store
from metaxcr.training.batch_sampler import BatchSampler

LANGUAGES = ["et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh"]
SIZES = (16, 32, 64)


def main(out: Path) -> None:
    """Measure every language, then print the averages with paired intervals."""
    done = {}
    if out.exists():
        done = {row["language"]: row for row in map(json.loads, out.read_text().splitlines())}
    start = MetaXCR.embedded().start
    for language in LANGUAGES:
        if language not in done:
            done[language] = _measure(start, language)
            with out.open("a") as file:
                file.write(json.dumps(done[language]) + "\n")
            means = {name: round(float(np.mean(r)), 3) for name, r in done[language]["right"].items()}
            print(language, means, flush=True)
    _summary(list(done.values()))


def _measure(start, language: str) -> dict:
    store = memory_store(start.model, start.config)
    val, test = (examples_of_split(load("xcopa", split, language=language)) for split in ("val", "test"))
    pool = encode_examples(val, start.model.kind, store, lambda done, total: None)
    asked = encode_examples(test, start.model.kind, store, lambda done, total: None)
    labels, everything = asked.questions.labels.tolist(), range(len(asked))

    def right(name: str, probabilities) -> list[float]:
        return HeldOut(name, [probabilities], labels).correct[:, 0].tolist()

    found = {
        "similarity": right("similarity", similarity_baseline(test, start, asked, store)),
        "unadapted": right("unadapted", predict_rows(start.model, start.phi, asked, everything, store)),
    }
    place = {example.id: row for row, example in enumerate(val.examples)}
    for k in SIZES:
        rows = [place[name] for name in draw_shots(val.examples, k, 0)]
        phi = finetune_rows(
            start, pool, rows, finetune_settings(start.config, Settings()), BatchSampler(store, 0, "all")
        )
        found[f"adapted to {k}"] = right("adapted", predict_rows(start.model, phi, asked, everything, store))
    return {"language": language, "ids": [e.id for e in test.examples], "right": found}


def _summary(rows: list[dict]) -> None:
    tables = {
        name: language_average([(row["ids"], np.array(row["right"][name])[:, None]) for row in rows])
        for name in rows[0]["right"]
    }
    for name, table in tables.items():
        i, gap = crossed_interval(table), paired_difference(table, tables["unadapted"])
        print(f"{name}: {100 * i.mean:.1f} ({100 * i.low:.1f} to {100 * i.high:.1f}); minus unadapted "
              f"{100 * gap.mean:+.2f} ({100 * gap.low:+.2f} to {100 * gap.high:+.2f})")  # fmt: skip
    for name in tables:
        if name.startswith("adapted"):
            gains = {
                r["language"]: np.mean(r["right"][name]) - np.mean(r["right"]["unadapted"]) for r in rows
            }
            worst = min(gains, key=gains.__getitem__)
            print(f"{name}: worst language {worst}, {100 * gains[worst]:+.1f} points")


if __name__ == "__main__":
    torch.use_deterministic_algorithms(True)
    main(Path(sys.argv[1]))
