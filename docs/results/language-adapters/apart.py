"""Which language is it, before and after the adapters? Writes apart.json.

python docs/results/language-adapters/apart.py ADAPTERS SENTENCES [CTML_RUN] > apart.json

A linear probe on mean vectors, trained on the first SENTENCES of FLORES-200 dev in each language and
tested on as many of devtest: for the encoder alone; and in the stack of language adapter and task adapter
(first seed) for the vectors before the language adapter, after it, and after the task adapter.
"""

import json
import sys
from pathlib import Path

import torch

from metaxcr.adapters.adapter_files import ADAPTERS, load_language, load_task
from metaxcr.data.corpora import load_parallel
from metaxcr.encoders.loading import load_encoder
from metaxcr.evaluation.alignment import language_probe, layer_vectors
from metaxcr.saved_model import META

POINTS = ("before the language adapter", "after the language adapter", "after the task adapter")


def main(adapters_dir: Path, run: Path | None, sentences: int) -> None:
    """Probe every layer at every point and print the table."""
    torch.set_num_threads(1)
    encoder = load_encoder("embedded")
    folders = {
        f.parent.name.removeprefix("lang."): f.parent for f in sorted(adapters_dir.glob("lang.*/result.json"))
    }
    adapters = {code: load_language(folder, encoder) for code, folder in folders.items()}
    task = load_task(run / ADAPTERS / META, encoder) if run else {}
    vectors: dict[str, dict[str, dict[str, torch.Tensor]]] = {"alone": {}, "stack": {}}
    for split in ("dev", "devtest"):
        corpus = load_parallel("flores200", split, list(adapters)).sentences
        for kind in vectors:
            vectors[kind][split] = {
                code: layer_vectors(
                    encoder,
                    corpus[code][:sentences],
                    [adapters[code].by_layer.get, task.get] if kind == "stack" else [],
                    invertible=adapters[code].invertible if kind == "stack" else None,
                )
                for code in adapters
            }
    rows = []
    for layer in range(encoder.depth + 1):
        points = {"encoder alone": ("alone", 0)}
        if layer - 1 in task or any(layer - 1 in a.by_layer for a in adapters.values() if layer):
            points |= {name: ("stack", level) for level, name in enumerate(POINTS)}
        for name, (kind, level) in points.items():
            train, test = (
                {code: v[level, layer] for code, v in vectors[kind][split].items()}
                for split in ("dev", "devtest")
            )
            rows.append({"layer": layer, "point": name, **language_probe(train, test)})
    print(json.dumps({"languages": list(adapters), "sentences": sentences, "rows": rows}, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[3]) if len(sys.argv) > 3 else None, int(sys.argv[2]))
