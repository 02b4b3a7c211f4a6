"""XCOPA val with the right, no and a wrong language adapter; writes effect.json.

python docs/results/language-adapters/effect.py ADAPTERS [CTML_RUN [CTML_RUN_EN]] > effect.json

ADAPTERS holds lang.<code> folders, CTML_RUN is a run of ctml.yaml, CTML_RUN_EN the same with English going
through the English adapter. Development data only: all 100 items of XCOPA val.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from metaxcr.adapters.adapter_files import load_language
from metaxcr.config.io import load_config
from metaxcr.data.phrasing import phrase
from metaxcr.data.registry import load
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.loading import load_encoder
from metaxcr.evaluation.predictions import predict
from metaxcr.evaluation.statistics import crossed_interval, language_average, paired_difference
from metaxcr.model.batch import encode_task
from metaxcr.model.build import build_model

NONE, ENGLISH = "", "en"
Table = dict[tuple[str, str], np.ndarray]  # (language, adapter) -> (items, seeds) of 0 and 1


def main(adapters_dir: Path, runs: dict[str, Path]) -> None:
    """Score every language with every adapter, for every method and seed, and print the summary."""
    torch.set_num_threads(1)
    encoder = load_encoder("embedded")
    folders = {
        f.parent.name.removeprefix("lang."): f.parent for f in sorted(adapters_dir.glob("lang.*/result.json"))
    }
    adapters = {code: load_language(folder, encoder) for code, folder in folders.items()}
    model = build_model(load_config(str(Path(__file__).with_name("ctml.yaml"))), encoder, 0)
    model.adapted.language.update({code: a.requires_grad_(False) for code, a in adapters.items()})
    store = ActivationCache(
        encoder, model.adapted.start, torch.bfloat16, Path(), languages=model.adapted.languages
    )
    methods = {"similarity": [model.params()]}  # untrained: the cosine of the sentence vectors
    for name, run in runs.items():
        files = sorted((run / "checkpoints").glob("ctml.seed*.safetensors"))
        methods[name] = [{k: v for k, v in load_file(f).items() if "sampler/" not in k} for f in files]
    scores: dict[str, Table] = {name: {} for name in methods}
    splits = {code: load("xcopa", "val", language=code) for code in folders if code != ENGLISH}
    for language, split in splits.items():
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
    ids = {language: [e.id for e in split.examples] for language, split in splits.items()}
    found = {name: summary(table, ids) for name, table in scores.items()}
    print(json.dumps({"task": "xcopa val", "adapters": list(folders), "methods": found}, indent=1))


def summary(scores: Table, ids: dict[str, list[str]]) -> dict[str, object]:
    """Accuracies with the right, no and wrong adapters, and the paired differences."""
    kinds: dict[str, dict[str, np.ndarray]] = {}
    for language in ids:
        others = [scores[language, other] for other in ids if other != language]
        kinds[language] = {
            "right": scores[language, language],
            "none": scores[language, NONE],
            "wrong": np.mean(others, axis=0),  # the other languages' adapters, each in turn
        }
        if (language, ENGLISH) in scores:
            kinds[language]["english"] = scores[language, ENGLISH]
    first = next(iter(kinds.values()))
    average = {kind: language_average([(ids[x], kinds[x][kind]) for x in ids]) for kind in first}
    return {name: _rows(own) for name, own in {**kinds, "average": average}.items()}


def _rows(own: dict[str, np.ndarray]) -> dict[str, list[float]]:
    rows = {}
    for kind, scores in own.items():
        found = crossed_interval(scores)
        rows[kind] = [round(x, 4) for x in (found.mean, found.low, found.high)]
    for other in ("none", "wrong"):
        d = paired_difference(own["right"], own[other])
        rows[f"right - {other}"] = [round(x, 4) for x in (d.mean, d.low, d.high, d.p)]
    return rows


if __name__ == "__main__":
    main(
        Path(sys.argv[1]), dict(zip(("ctml", "ctml, English adapter"), map(Path, sys.argv[2:]), strict=False))
    )
