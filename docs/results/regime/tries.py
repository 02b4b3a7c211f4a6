"""Try training regimes on development data: every try of ``tries.yaml``, a line of ``tries.jsonl`` each.

    cd docs/results/regime
    python tries.py tries.yaml tries.jsonl
    python tries.py --table tries.jsonl > README.md

Each try trains CTML with some settings and one seed, and is scored on development splits alone: XStoryCloze
train in eight languages and in English, the dev splits of the sources, and XCOPA val, which with its 100
items cannot choose. Finished tries are skipped, so that the command continues where it stopped. Tries with
more than one look are scored on the way, too.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
import yaml

from metaxcr.autodiff import Params
from metaxcr.config.io import load_config
from metaxcr.config.schema import Config
from metaxcr.data.phrasing import phrase
from metaxcr.data.registry import load
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.loading import load_encoder
from metaxcr.evaluation.predictions import predict
from metaxcr.model.batch import TaskData, encode_task
from metaxcr.model.build import build_model
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.runs.ctml import CrossTaskEpisodes
from metaxcr.runs.experiment import trunk_folder
from metaxcr.runs.progress import Console, Progress
from metaxcr.runs.raw_data import read_data
from metaxcr.runs.run_data import RunData, prepare
from metaxcr.sampling import make_reward_schedule, make_sampler
from metaxcr.seeding import derive
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.training.loop import MetaTrainer

STORIES = ("ar", "es", "eu", "hi", "id", "ru", "sw", "zh")
XCOPA = ("et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh")
DEV = {  # group -> task, split, languages
    "stories": ("xstorycloze", "train", STORIES),
    "stories en": ("xstorycloze", "train", ("en",)),
    **{
        task: (task, "dev", ("en",))
        for task in ("ecare", "socialiqa", "commonsenseqa", "openbookqa", "codah")
    },
    "xcopa val": ("xcopa", "val", XCOPA),
}
MOST = 1000  # items of a set
HEALTH = ("moved", "support_drop", "query_drop", "plain_cosine", "alignment_ratio", "scorer_distance")


class Lab:
    """Data and encoded development sets, shared by tries with the same encoder and sources."""

    def __init__(self, config: Config) -> None:
        encoder = load_encoder(config.encoder.name)
        self.model = build_model(config, encoder, 0)
        self.store = ActivationCache(
            encoder, self.model.adapted.start, self.model.dtype, trunk_folder(),
            max_tokens=config.encoder.max_tokens, limit_bytes=20 * 10**9, log=print, languages={},
        )  # fmt: skip
        raw = read_data(config, None)
        self.data: RunData = prepare(config, raw, self.store, Progress(Console(quiet=True)))
        self.dev = {name: [self._encode(config, *one) for one in _sets(group)] for name, group in DEV.items()}
        self.store.flush(0)

    def _encode(self, config: Config, task: str, split: str, language: str) -> TaskData:
        found = load(task, split, language=language)
        examples = [e for e in found.examples if e.label is not None][:MOST]
        return encode_task(examples, lambda e: phrase(e, found.spec), self.store, kind=config.scoring.kind)

    def scores(self, model: ChoiceModel, phi: Params) -> dict[str, float]:
        """Accuracy by group, the mean over its languages, in percent."""
        found = {}
        for name, sets in self.dev.items():
            accuracies = []
            for data in sets:
                ((rows,), _) = predict(model, phi, [data], self.store)
                labels = data.questions.labels.tolist()
                accuracies.append(
                    np.mean([int(np.argmax(p)) == y for p, y in zip(rows, labels, strict=True)])
                )
            found[name] = round(100 * float(fmean(accuracies)), 2)
        return found


def _sets(group: tuple[str, str, tuple[str, ...]]) -> Iterator[tuple[str, str, str]]:
    task, split, languages = group
    return ((task, split, language) for language in languages)


def carry_out(lab: Lab, config: Config, seed: int, looks: int) -> Iterator[dict[str, Any]]:
    """Train CTML; yields scores at ``looks`` evenly spaced steps, the last one at the end."""
    settings = config.ctml
    model = build_model(config, lab.model.adapted.encoder, seed)
    batches = BatchSampler(lab.store, seed, "ctml")
    english = lab.data.english
    episodes = CrossTaskEpisodes(english, lab.data.parallel, settings, batches)
    sampler = make_sampler(config.sampler, [len(data) for data in english.sources.values()])
    schedule = make_reward_schedule(config.sampler.reward, fresh=True)
    trainer = MetaTrainer(model, episodes, sampler, settings, seed, "ctml", schedule)
    begun, passes, health, event = time.time(), 0, [], {}
    state = trainer.start(model.params(), sampler.init(derive(seed, "sampler")))
    at = {round(settings.steps * n / looks) for n in range(1, looks + 1)}
    for after, event in trainer.train(state):
        state = after
        passes += event["token_passes"]
        health += [event["health"]] if "health" in event else []
        if state.step in at:
            lab.store.flush()
            seconds = time.time() - begun
            yield {
                "step": state.step, "seconds": round(seconds), "passes": passes,
                "accuracy": lab.scores(model, state.result),
                "health": {k: round(fmean(v), 5) for k in HEALTH if (v := [h[k] for h in health if k in h])},
                "policy": event["probabilities"],
            }  # fmt: skip
            begun = time.time() - seconds
    if not settings.steps:
        yield {"step": 0, "seconds": 0, "passes": 0, "accuracy": lab.scores(model, model.params())}


def main(tries: Path, out: Path) -> None:
    """Carry out all tries that are not in ``out`` yet."""
    plan = yaml.safe_load(tries.read_text(encoding="utf-8"))
    torch.use_deterministic_algorithms(True)
    labs: dict[str, Lab] = {}
    for name, one in plan["tries"].items():
        for seed in one.get("seeds", [0]):
            lines = out.read_text(encoding="utf-8").splitlines() if out.is_file() else []
            if any(
                (row["try"], row["seed"]) == (name, seed) and row["last"] for row in map(json.loads, lines)
            ):
                continue
            config = load_config(plan["base"], [*plan["settings"], *one["settings"]])
            torch.set_num_threads(config.run.threads or 2)
            key = json.dumps(
                [config.first_names()[part] for part in ("encoder", "sources", "scoring", "target")]
            )
            key += json.dumps(config.adapters.model_dump(mode="json")["layers"])
            if key not in labs:
                labs.clear()
                labs[key] = Lab(config)
            for row in carry_out(labs[key], config, seed, one.get("looks", 1)):
                last = row["step"] == config.ctml.steps
                line = {"try": name, "seed": seed, "last": last, "settings": one["settings"], **row}
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(name, seed, row["step"], row["seconds"], row["accuracy"], row.get("health"), flush=True)


HEAD = """# Tries of training regimes

Every try, in the order in which they were made; development data only; one seed unless the name says
otherwise. Accuracy in %: *stories* is XStoryCloze train, the mean of ar, es, eu, hi, id, ru, sw and zh
(360 parallel items; standard error of one try about 2 points, of the difference of two about 1.5); *codah*
to *socialiqa* are the sources' own dev splits; *xcopa val* (100 items in eleven languages) was not used to
choose. *cosine* is that of the meta-gradient and the plain gradient, *scorer* |W - I| / |I|, both means over
the episodes that were looked at. A try without its last line was stopped early. Settings of each:
`tries.yaml`. Embedded encoder, bfloat16, one thread of an AMD EPYC shared with other work, so the seconds
are an upper bound. Made with `tries.py`.

"""


def table(lines: Path) -> str:
    """The tries as a Markdown page."""
    rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    groups = list(DEV)
    head = ["try", "episodes", "M token-passes", "s", *groups, "cosine", "scorer"]
    text = [HEAD + "| " + " | ".join(head) + " |", "| --- |" + " --- |" * (len(head) - 1)]
    for row in rows:
        health, accuracy = row.get("health") or {}, row["accuracy"]
        numbers = [health.get(key) for key in ("plain_cosine", "scorer_distance")]
        cells = [row["try"], row["step"], f"{row['passes'] / 1e6:.1f}", row["seconds"]]
        cells += [f"{accuracy[group]:.1f}" for group in groups]
        cells += ["" if number is None else f"{number:.3f}" for number in numbers]
        text.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(text)


if __name__ == "__main__":
    if sys.argv[1] == "--table":
        print(table(Path(sys.argv[2])))
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
