"""What an episode costs each learner: CPU seconds, token-passes, and memory of autograd's graphs.

    OMP_NUM_THREADS=1 python docs/results/learners/measure.py [EPISODES]

On the starter data that ship with the package, on the embedded encoder. All learners get the same episodes,
in turn, so that a busy machine slows all of them down alike; seconds are CPU time of one thread, the median.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from metaxcr.config.io import load_config
from metaxcr.config.schema import Ctml
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.loading import load_encoder
from metaxcr.meta.learners import make_learner
from metaxcr.model.build import build_model
from metaxcr.runs.ctml import CrossTaskEpisodes
from metaxcr.runs.experiment import trunk_folder
from metaxcr.runs.progress import Progress
from metaxcr.runs.raw_data import read_data
from metaxcr.runs.run_data import prepare
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.training.episodes import losses_of, token_passes

BATCHED = {"tasks_per_step": 2}
LEARNERS: dict[str, dict[str, Any]] = {
    "multi-task": {},
    "fomaml": {},
    "reptile": {},
    "anil": {},
    "anil, first order": {"first_order": True},
    "maml": {},
    "meta-sgd": {},
    "meta-sgd, first order": {"first_order": True},
    "imaml": {},
    "x-metra-ada": {},
    "mmt": BATCHED,
    "fomaml, K = 5": {"inner_steps": 5},
    "maml, K = 5": {"inner_steps": 5},
    "imaml, K = 5": {"inner_steps": 5},
}


def graph_bytes(run: Callable[[], object]) -> int:
    """Largest number of bytes that autograd's graphs held at the same time; storages are counted once."""
    held: dict[int, list[int]] = {}  # address -> [holders, bytes]
    peak = 0

    class Saved:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal peak
            storage = tensor.untyped_storage()
            self.tensor, self.key = tensor, storage.data_ptr()
            held.setdefault(self.key, [0, storage.nbytes()])[0] += 1
            peak = max(peak, sum(size for _, size in held.values()))

        def __del__(self) -> None:
            held[self.key][0] -= 1
            if not held[self.key][0]:
                del held[self.key]

    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        run()
    return peak


def main(episodes: int) -> None:
    """Measure, print a table and write it beside this file."""
    torch.set_num_threads(1)
    config = load_config(
        "starter",
        ["target.languages=[sw]", "target.parallel=null", "ctml.alignment=0", "run.regimes=[zero-shot]"],
    )
    encoder = load_encoder(config.encoder.name)
    model = build_model(config, encoder, 0)
    store = ActivationCache(encoder, model.adapted.start, model.dtype, trunk_folder())
    english = prepare(config, read_data(config, None), store, Progress(Console(stderr=True))).english
    phi = model.params()

    learners = {}
    for name, more in LEARNERS.items():
        settings = Ctml.model_validate({"learner": name.split(",")[0], **more})
        learners[name] = (
            make_learner(settings),
            CrossTaskEpisodes(english, {}, settings, BatchSampler(store, 0, "ctml")),
        )
    seconds: dict[str, list[float]] = {name: [] for name in LEARNERS}
    passes = dict.fromkeys(LEARNERS, 0)
    memory = dict.fromkeys(LEARNERS, 0)
    for step in range(-1, episodes):  # the first one warms up, and has its memory measured
        for name, (learner, episodes_of) in learners.items():
            episode = episodes_of.sample(step + 1, (step + 1) % len(episodes_of.sources))
            losses, meta_params = losses_of(model, episode, 0.0), learner.init(phi)
            if step < 0:
                memory[name] = graph_bytes(lambda: learner.adapt(losses, phi, meta_params))  # noqa: B023
                continue
            begun = time.process_time()
            adapted = learner.adapt(losses, phi, meta_params)
            seconds[name].append(time.process_time() - begun)
            passes[name] += sum(token_passes(episode, adapted).values())
    report({n: (statistics.median(seconds[n]), passes[n] / episodes, memory[n]) for n in LEARNERS}, episodes)


def report(rows: dict[str, tuple[float, float, int]], episodes: int) -> None:
    """Print a table relative to FOMAML, and write the figures."""
    base_seconds, base_passes, _ = rows["fomaml"]
    print(
        "| learner | CPU seconds | × FOMAML | token-passes | × FOMAML | graph MB |\n|---|---|---|---|---|---|"
    )
    for name, (seconds, passes, memory) in rows.items():
        print(
            f"| {name} | {seconds:.2f} | {seconds / base_seconds:.1f} | {passes:,.0f} "
            f"| {passes / base_passes:.1f} | {memory / 1e6:.0f} |"
        )
    figures = {
        n: dict(zip(("seconds", "token_passes", "graph_bytes"), row, strict=True)) for n, row in rows.items()
    }
    about = {"episodes": episodes, "torch": torch.__version__, "threads": 1, "learners": figures}
    Path(__file__).with_name("costs.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
