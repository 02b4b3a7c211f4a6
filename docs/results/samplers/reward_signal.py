"""How well rewards tell sources apart along a uniform CTML run with poison; writes reward_signal.json.

python docs/results/samplers/reward_signal.py docs/results/samplers/poison.yaml DATA
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from metaxcr.autodiff import Params, value_and_grad
from metaxcr.config.io import load_config
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.loading import load_encoder
from metaxcr.model.batch import make_batch
from metaxcr.model.build import build_model
from metaxcr.model.choice_model import choice_loss
from metaxcr.runs.ctml import CrossTaskEpisodes
from metaxcr.runs.experiment import trunk_folder
from metaxcr.runs.progress import Progress
from metaxcr.runs.raw_data import read_data
from metaxcr.runs.run_data import prepare
from metaxcr.sampling.fixed import Uniform
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.training.loop import MetaTrainer

STEPS, BATCHES, SEED = (0, 8, 30, 80, 140), 5, 100


def cosine(one: Params, other: Params, names: list[str]) -> float:
    """Of the named tensors as one vector."""
    a, b = (torch.cat([p[n].double().flatten() for n in names]) for p in (one, other))
    return float(a @ b / (a.norm() * b.norm()))


def summarise(cosines: np.ndarray) -> dict:
    """(sources, batches) -> spread between sources over noise within, and z-scores of the means."""
    mean, noise = cosines.mean(1), np.sqrt(cosines.var(1, ddof=1).mean())
    z = (mean - mean.mean()) / noise
    return {"spread": round(float(mean.std() / noise), 2), "z": [round(float(v), 1) for v in z]}


def main() -> None:
    """Train, stop at STEPS, compare."""
    config, progress = load_config(sys.argv[1]), Progress(Console(quiet=True), quiet=True)
    encoder = load_encoder(config.encoder.name)
    model = build_model(config, encoder, 0)
    store = ActivationCache(encoder, model.adapted.start, model.dtype, trunk_folder())
    data = prepare(config, read_data(config, Path(sys.argv[2])), store, progress)
    settings = config.ctml.model_copy(update={"alignment": 0.0})
    episodes = CrossTaskEpisodes(data.english, {}, settings, BatchSampler(store, SEED, "ctml"))
    names, reward = episodes.sources, data.english.reward
    target = make_batch(reward, range(len(reward)), store)
    losses = {
        "choices": lambda p: choice_loss(model.score(p, target), target.questions),
        "training": lambda p: model.loss(p, target),
        "association": lambda p: model.association(p, target),
    }

    def look(step: int, phi: Params) -> list[dict]:
        adapters = [n for n in phi if n != "scorer"]
        parts = {"all": list(phi), "adapters": adapters}
        gradients = {name: value_and_grad(loss, phi)[1] for name, loss in losses.items()}
        found = {(loss, part): np.zeros((len(names), BATCHES)) for loss in losses for part in parts}
        for i in range(len(names)):
            for b in range(BATCHES):
                support = episodes.sample(20_000 + 100 * step + b, i).support
                _, gradient = value_and_grad(lambda p, s=support: model.loss(p, s), phi)
                for loss, part in found:
                    found[loss, part][i, b] = cosine(gradient, gradients[loss], parts[part])
        return [{"step": step, "loss": x, "tensors": y, **summarise(c)} for (x, y), c in found.items()]

    sampler = Uniform(len(names))
    trainer = MetaTrainer(model, episodes, sampler, settings, SEED, "ctml")
    begin = trainer.start(model.params(), sampler.init(0))
    rows = look(0, begin.phi)
    for state, _ in trainer.train(begin):
        if state.step in STEPS:
            rows += look(state.step, state.phi)
        if state.step == max(STEPS):
            break
    result = {"sources": names, "batches": BATCHES, "seed": SEED, "rows": rows}
    (Path(__file__).parent / "reward_signal.json").write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
