"""Put a trained meta-adapter into the package: ``python tools/package_model.py runs/embedded-meta``.

Writes half-precision adapters of the first seed, an index of some source examples (ids and vectors),
and a model card. The settings of the training are ``configs/embedded-meta.yaml``.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file

from metaxcr.adapters.adapter_files import ADAPTERS
from metaxcr.api import MetaXCR
from metaxcr.data.phrasing import phrase
from metaxcr.fewshot.nearest_examples import decision_vectors, write_index
from metaxcr.model.batch import encode_task
from metaxcr.model.build import memory_store
from metaxcr.model_card import model_card
from metaxcr.parse import dump_yaml
from metaxcr.runs.raw_data import read_data
from metaxcr.saved_model import CARD, EMBEDDED_MODEL, ENVIRONMENT, META, ORIGIN, RESULTS, SETTINGS
from metaxcr.seeding import rng

EXAMPLES_PER_TASK = 250  # in the index


def package_model(run: Path, goal: Path = EMBEDDED_MODEL) -> None:
    """Replace the model in the package by that of a run of ``embedded-meta``."""
    shutil.rmtree(goal, ignore_errors=True)
    adapter = goal / ADAPTERS / META
    shutil.copytree(run / ADAPTERS / META, adapter)
    for file in adapter.glob("*.safetensors"):
        save_file({name: t.half() for name, t in load_file(file).items()}, file)
    settings = yaml.safe_load((run / SETTINGS).read_text(encoding="utf-8"))
    settings["run"]["threads"] = None  # of the machine that trained it
    (goal / SETTINGS).write_text(dump_yaml(settings))
    environment = json.loads((run / ENVIRONMENT).read_text(encoding="utf-8"))
    origin = {key: environment[key] for key in ORIGIN if key in environment}
    (goal / ENVIRONMENT).write_text(json.dumps(origin, indent=1) + "\n")
    if (run / RESULTS).is_file():  # for the card; its rows are in docs/results
        shutil.copyfile(run / RESULTS, goal / RESULTS)
    model = MetaXCR.from_pretrained(goal)
    (goal / CARD).write_text(model_card(model.config, goal, model.languages), encoding="utf-8")
    (goal / RESULTS).unlink(missing_ok=True)
    _write_index(model, goal)


def _write_index(model: MetaXCR, goal: Path) -> None:
    loaded = read_data(model.config, None)
    start = model.start
    vectors, names = [], []
    for split, examples in loaded.sources:
        rows = sorted(rng(0, "index").permutation(len(examples))[:EXAMPLES_PER_TASK])
        chosen = [examples[row] for row in rows]
        store = memory_store(start.model, start.config)
        data = encode_task(chosen, lambda e, spec=split.spec: phrase(e, spec), store, kind=start.model.kind)  # type: ignore[misc]
        vectors.append(decision_vectors(start.model, start.phi, data, [e.label or 0 for e in chosen], store))
        names += [(split.spec.id, split.split, e.id) for e in chosen]
    write_index(goal, torch.cat(vectors), names)


if __name__ == "__main__":
    package_model(Path(sys.argv[1]))
