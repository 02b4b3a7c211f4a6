"""Play the laws with several samplers, write laws.json and the figure.

python docs/results/samplers/laws.py [--seeds 20] [--first 0] [--out docs/results/samplers]
python docs/results/samplers/laws.py --grid    # the reinforced sampler with other arms and noise, 100 seeds
"""

import argparse
import json
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from metaxcr.config.schema import SamplerSettings
from metaxcr.files import write_atomically
from metaxcr.sampling import make_sampler

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.sampling.bandit_problems import LAWS, Bandit, play

# name -> settings, and steps between rewards of all sources (0: the drawn source's, every step): the number
# of rewards is the same for all of them
SAMPLERS: dict[str, tuple[SamplerSettings, bool]] = {
    "reinforce": (SamplerSettings(), False),
    "uniform": (SamplerSettings(kind="uniform"), False),
    "exp3": (SamplerSettings(kind="exp3"), False),
    "multidds": (SamplerSettings(kind="multidds"), True),
}
WATCHED = {"one helps": 0, "the best changes": 1, "all equal": None, "one harms": 0}  # None: the largest
Watch = Callable[[np.ndarray], np.ndarray]


def watched(law: str, history: np.ndarray) -> np.ndarray:
    """The probability that the law speaks of, at every step."""
    source = WATCHED[law]
    return history.max(1) if source is None else history[:, source]


def curve(settings: SamplerSettings, bandit: Bandit, seed: int) -> np.ndarray:
    """One seed's probability at every step."""
    torch.set_num_threads(1)
    return watched(bandit.law, play(make_sampler(settings, [1] * bandit.sources), bandit, seed))


def curves(settings: SamplerSettings, bandit: Bandit, seeds: range, pool: ProcessPoolExecutor) -> np.ndarray:
    """(seeds, steps)."""
    return np.array(list(pool.map(partial(curve, settings, bandit), seeds)))


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean over seeds and half the width of its 95 % interval (t)."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return round(float(values.mean()), 4), round(float(half), 4)


def play_all(seeds: range, pool: ProcessPoolExecutor) -> tuple[dict, dict]:
    """Numbers for laws.json, and the curves behind them."""
    rows, drawn = [], {}
    for law in LAWS:
        for name, (settings, of_all) in SAMPLERS.items():
            lines = curves(settings, Bandit(law, all_every=5 if of_all else 0), seeds, pool)
            drawn[law, name] = lines
            end, half = interval(lines[:, -1])
            later, later_half = interval(lines[:, 250:].mean(1))
            rows.append({"law": law, "sampler": name, "end": end, "ci95": half})
            rows[-1] |= {"second_half": later, "second_half_ci95": later_half}
            print(rows[-1], flush=True)
    about = {"sources": 5, "steps": 500, "noise": 1.0, "gap": 1.0}
    return {**about, "seeds": [seeds[0], seeds[-1]], "laws": LAWS, "rows": rows}, drawn


def play_grid(seeds: range, pool: ProcessPoolExecutor) -> dict:
    """The reinforced sampler away from the conditions that its settings were chosen under."""
    rows = []
    for sources, noise in ((5, 1.0), (3, 1.0), (7, 1.0), (12, 1.0), (5, 0.5), (5, 2.0)):
        for law in LAWS:
            lines = curves(SamplerSettings(), Bandit(law, sources=sources, noise=noise), seeds, pool)
            end, half = interval(lines[:, -1])
            rows.append({"sources": sources, "noise": noise, "law": law, "end": end, "ci95": half})
            print(rows[-1], flush=True)
    return {"steps": 500, "gap": 1.0, "seeds": [seeds[0], seeds[-1]], "rows": rows}


def draw(drawn: dict, out: Path) -> None:
    """A panel a law, a line a sampler, bands of 95 % over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9, 6.5), sharex=True, layout="constrained")
    what = {"the best changes": "probability of the new best source", "all equal": "largest probability"}
    for axis, law in zip(axes.flat, LAWS, strict=True):
        for name in SAMPLERS:
            lines = drawn[law, name]
            mean = lines.mean(0)
            half = stats.t.ppf(0.975, len(lines) - 1) * lines.std(0, ddof=1) / len(lines) ** 0.5
            axis.plot(mean, label=name, lw=2 if name == "reinforce" else 1.2)
            axis.fill_between(range(len(mean)), mean - half, mean + half, alpha=0.2, lw=0)
        axis.set_title(f"{law}:\n{LAWS[law]}", fontsize=8)
        axis.set_ylabel(what.get(law, "probability of source 0"), fontsize=8)
        axis.set_ylim(0, 1 if law != "one harms" else 0.32)
    axes[0, 1].axvline(250, color="grey", lw=0.8, ls=":")
    axes[1, 0].axhline(0.4, color="grey", lw=0.8, ls=":")
    for axis in axes[1]:
        axis.set_xlabel("episode")
    axes[0, 0].legend(fontsize=8)
    figure.savefig(out / "laws.png", dpi=110)


def main() -> None:
    """Parse, play, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--grid", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(2) as pool:
        if options.grid:
            result = play_grid(range(1000, 1000 + options.seeds), pool)
        else:
            result, drawn = play_all(range(options.first, options.first + options.seeds), pool)
            draw(drawn, options.out)
    name = "grid.json" if options.grid else "laws.json"
    write_atomically(options.out / name, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
