"""The shipped meta-adapter's answers in float32 and in bfloat16, on development data.

    python docs/results/precision/measure.py docs/results/precision/embedded.json

Needs the official files (METAXCR_DATA). Without bfloat16 instructions it takes an hour instead of minutes.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from metaxcr import MetaXCR
from metaxcr.data.registry import load
from metaxcr.evaluation.statistics import paired_difference
from metaxcr.hardware import processor

SETS = (
    ("xcopa", "val", 100, "et ht id it qu sw ta th tr vi zh"),
    ("xstorycloze", "train", 100, "en ar es eu hi id ru sw zh"),
    ("ecare", "dev", 500, "en"),
)


def correct(model: MetaXCR, task: str, split: str, language: str, items: int) -> tuple[np.ndarray, list[int]]:
    """Whether each answer is right, and the answers."""
    loaded = load(task, split, language=language)
    loaded.examples[:] = loaded.examples[:items]
    answers = [int(np.argmax(row)) for row in model.score(loaded)]
    labels = [example.label for example in loaded.examples]
    return np.array([float(a == b) for a, b in zip(answers, labels, strict=True)]), answers


rows = []
models = {name: MetaXCR.embedded(device="cpu", dtype=name) for name in ("float32", "bfloat16")}
for task, split, items, languages in SETS:
    found, seconds = {}, {}
    for name, model in models.items():
        begun = time.perf_counter()
        found[name] = [correct(model, task, split, language, items) for language in languages.split()]
        seconds[name] = round(time.perf_counter() - begun, 1)
    # an item's translations are one item: its mean over the languages
    means = {name: np.mean([right for right, _ in sets], axis=0) for name, sets in found.items()}
    same = np.mean(
        [a == b for (_, x), (_, y) in zip(*found.values(), strict=True) for a, b in zip(x, y, strict=True)]
    )
    gap = paired_difference(means["bfloat16"], means["float32"])
    rows.append(
        {
            "task": task, "split": split, "languages": len(found["float32"]), "items": len(means["float32"]),
            "accuracy": {name: round(100 * float(m.mean()), 2) for name, m in means.items()},
            "bfloat16 minus float32": {k: round(100 * getattr(gap, k), 2) for k in ("mean", "low", "high")},
            "same answers": round(float(same), 4), "seconds": seconds,
        }
    )  # fmt: skip
    print(rows[-1], flush=True)
report = {"processor": processor(), "command": " ".join(["python", *sys.argv]), "rows": rows}
Path(sys.argv[1]).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
