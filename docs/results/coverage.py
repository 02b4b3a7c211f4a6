"""How often 95 % intervals hold the truth: ``python docs/results/coverage.py [EXPERIMENTS]``.

Items are answered right or wrong by probit models with a quality for each seed (its standard deviation from
none to 14 points) and an easiness for each item; the expected accuracy is known in closed form. A difference
is that of two such models on the same items. Prints coverage in % for each setting, and the range of all.
"""

import sys
from itertools import product

import numpy as np
from scipy import stats

from metaxcr.evaluation.statistics import crossed_interval, paired_difference

LEVEL = 0.2  # latent mean: accuracies of 54 to 58 %


def answers(easiness: np.ndarray, seeds: int, seed_sd: float, generator: np.random.Generator) -> np.ndarray:
    """Right or wrong: (items, seeds), from the easiness of each item, (items, 1)."""
    quality = seed_sd * generator.standard_normal(seeds)
    noise = generator.standard_normal((len(easiness), seeds))
    return (LEVEL + easiness + quality + noise > 0).astype(float)


def main(experiments: int) -> None:
    """Print the sweep."""
    generator, ranges = np.random.default_rng(0), {"average": [100.0, 0.0], "difference": [100.0, 0.0]}
    print("items  seeds  sd of items  sd of seeds  average  difference")
    for items, seeds, item_sd, seed_sd in product(
        (100, 500, 1500), (3, 5, 10), (0.5, 1.0, 2.0), (0, 0.05, 0.1, 0.2, 0.4)
    ):
        held = {"average": 0, "difference": 0}
        truth = stats.norm.cdf(LEVEL / np.sqrt(1 + item_sd**2 + seed_sd**2))
        for _ in range(experiments):
            easiness = item_sd * generator.standard_normal((items, 1))
            a, b = (answers(easiness, seeds, seed_sd, generator) for _ in range(2))
            one, two = crossed_interval(a), paired_difference(a, b)
            held["average"] += one.low <= truth <= one.high
            held["difference"] += two.low <= 0 <= two.high
        shown = {name: 100 * count / experiments for name, count in held.items()}
        print(f"{items:5}  {seeds:5}  {item_sd:11}  {seed_sd:11}  "
              f"{shown['average']:7.1f}  {shown['difference']:10.1f}", flush=True)  # fmt: skip
        for name, value in shown.items():
            ranges[name] = [min(ranges[name][0], value), max(ranges[name][1], value)]
    for name, (low, high) in ranges.items():
        print(f"{name}: {low:.1f} to {high:.1f} %")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
