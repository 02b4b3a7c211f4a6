"""XCOPA val with the right, no and a wrong language adapter; writes effect.json.

python docs/results/language-adapters/effect.py ADAPTERS CTML_RUN [CTML_RUN_EN] > effect.json

ADAPTERS holds lang.<code> folders, CTML_RUN is a run of ctml.yaml, CTML_RUN_EN the same with English going
through the English adapter. Development data only: all 100 items of XCOPA val.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from metaxcr.adapters.store import load_language
from metaxcr.encoders import TrunkStore, load_encoder
from metaxcr.evaluation.intervals import crossed_interval, language_average, paired_difference
from metaxcr.evaluation.predict import predict
from metaxcr.hub import read_settings
from metaxcr.scoring.batch import encode_task
from metaxcr.scoring.build import build_model
from metaxcr.tasks import load, phrase

LANGUAGES = ("sw", "qu", "ht", "et")
NONE = ""


def main(adapters_dir: Path, runs: dict[str, Path]) -> None:
    """Score every language with every adapter, for every method and seed, and print the summary."""
    torch.set_num_threads(1)
    encoder = load_encoder("embedded")
    folders = {path.name.removeprefix("lang."): path for path in sorted(adapters_dir.glob("lang.*"))}
    config = read_settings(next(iter(runs.values())))
    model = build_model(config, encoder, 0)
    model.adapted.language.update(
        {c: load_language(f, encoder).requires_grad_(False) for c, f in folders.items()}
    )
    store = TrunkStore(
        encoder, model.adapted.start, torch.bfloat16, Path(), languages=model.adapted.languages
    )
    methods = {"similarity": [model.params()]}
    for name, run in runs.items():
        files = sorted((run / "checkpoints").glob("ctml.seed*.safetensors"))
        methods[name] = [{k: v for k, v in load_file(f).items() if "sampler/" not in k} for f in files]
    scores: dict[str, dict[tuple[str, str], np.ndarray]] = {name: {} for name in methods}
    for language in LANGUAGES:
        split = load("xcopa", "val", language=language)
        for adapter in (NONE, *folders):
            data = encode_task(
                split.examples, lambda e, s=split: phrase(e, s.spec), store, kind="dual", language=adapter
            )
            labels = np.array(data.questions.labels.tolist())
            for name, phis in methods.items():
                right = [
                    np.argmax(predict(model, phi, [data], store)[0][0], axis=1) == labels for phi in phis
                ]
                scores[name][language, adapter] = np.stack(right, axis=1).astype(float)
    ids = {
        language: [e.id for e in load("xcopa", "val", language=language).examples] for language in LANGUAGES
    }
    print(
        json.dumps(
            {"task": "xcopa val", "methods": {n: summary(s, ids) for n, s in scores.items()}}, indent=1
        )
    )


def summary(scores: dict[tuple[str, str], np.ndarray], ids: dict[str, list[str]]) -> dict[str, object]:
    """Accuracies with the right, no and wrong adapters, and the paired differences."""
    kinds = {
        language: {"right": scores[language, language], "none": scores[language, NONE]}
        for language in LANGUAGES
    }
    for language in LANGUAGES:
        others = [scores[language, other] for other in LANGUAGES if other != language]
        kinds[language]["wrong"] = np.mean(
            others, axis=0
        )  # the other three languages' adapters, each in turn
        if (language, "en") in scores:
            kinds[language]["english"] = scores[language, "en"]
    average = {
        kind: language_average([(ids[x], kinds[x][kind]) for x in LANGUAGES]) for kind in kinds[LANGUAGES[0]]
    }
    table: dict[str, object] = {}
    for name, own in {**kinds, "average": average}.items():
        rows = {}
        for kind, s in own.items():
            found = crossed_interval(s)
            rows[kind] = [round(found.mean, 4), round(found.low, 4), round(found.high, 4)]
        for other in ("none", "wrong"):
            d = paired_difference(own["right"], own[other])
            rows[f"right - {other}"] = [round(d.mean, 4), round(d.low, 4), round(d.high, 4), round(d.p, 4)]
        table[name] = rows
    return table


if __name__ == "__main__":
    main(
        Path(sys.argv[1]), dict(zip(("ctml", "ctml, English adapter"), map(Path, sys.argv[2:]), strict=False))
    )
