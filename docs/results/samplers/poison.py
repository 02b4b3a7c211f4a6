"""Summarise poisoned runs: how often their samplers drew wrong labels, and what the reward cost.

python docs/results/samplers/poison.py RUN... > docs/results/samplers/poison.json
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import yaml
from scipy import stats


def ctml_events(folder: Path) -> dict[int, list[dict]]:
    """Seed -> the events of CTML."""
    found = defaultdict(list)
    for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["stage"] == "ctml":
            found[event["seed"]].append(event)
    return found


def summarise(events: list[dict]) -> dict:
    """Mean probabilities in the second half, of each source and of the poisoned ones together."""
    later = [e["probabilities"] for e in events[len(events) // 2 :]]
    mean = {name: float(np.mean([p[name] for p in later])) for name in later[0]}
    rewards = defaultdict(list)
    for event in events:
        rewards[event["source"]].append(event["reward"])
    passes = sum(sum(e["passes"].values()) for e in events)
    paid = sum(e["passes"].get("reward", 0) for e in events)
    return {
        "steps": len(events),
        "poisoned": round(sum(p for name, p in mean.items() if ":" in name), 4),
        "probabilities": {name: round(p, 4) for name, p in mean.items()},
        "reward_means": {n: round(float(np.mean(r)), 4) for n, r in rewards.items() if None not in r},
        "reward_passes": round(paid / (passes - paid), 4),
    }


def main() -> None:
    """Read the run folders, print JSON."""
    seeds, settings = {}, None
    for folder in map(Path, sys.argv[1:]):
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        settings = {key: config[key] for key in ("sampler", "ctml", "sources")}
        for seed, events in ctml_events(folder).items():
            if len(events) == config["ctml"]["steps"]:  # seeds that are done
                seeds[seed] = summarise(events)
    shares = np.array([one["poisoned"] for one in seeds.values()])
    half = stats.t.ppf(0.975, len(shares) - 1) * shares.std(ddof=1) / len(shares) ** 0.5
    result = {
        "poisoned": round(float(shares.mean()), 4),
        "ci95": round(float(half), 4),
        "uniform": round(2 / 7, 4),
        "seeds": {str(seed): seeds[seed] for seed in sorted(seeds)},
        "settings": settings,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
