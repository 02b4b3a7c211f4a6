"""Rules about the sampler: sources that mismatch the target, a policy that collapsed or never learned."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from metaxcr.diagnosis.finding import Evidence, Finding, Record
from metaxcr.diagnosis.statistics import difference, groups_differ, mean_interval
from metaxcr.diagnosis.thresholds import COLLAPSED, EARLY, END, ENOUGH, ENOUGH_STEPS, LEVEL, UNIFORM

NEVER_LEARN = ("uniform", "proportional", "temperature")  # kinds of samplers that are not supposed to


def mismatched_sources(evidence: Evidence) -> list[Finding]:
    """Sources whose episodes did not help the target: rewards below zero, or surely below the others'.

    Loss drops shrink as training goes on, so sources are compared by what is left of a reward after the mean
    of its quarter of the training.
    """
    found = []
    plain, compared = _rewards(evidence, relative=False), _rewards(evidence, relative=True)
    level = LEVEL / max(1, len(plain))
    for source, rewards in plain.items():
        if len(rewards) < ENOUGH:
            continue
        own = mean_interval(rewards, level)
        others = [r for s, rs in compared.items() if s != source for r in rs]
        below = difference(compared[source], others, level) if len(others) >= ENOUGH else None
        harms, lags = own.high < 0, below is not None and below.high < 0
        if not harms and not lags:
            continue
        numbers = {"source": source, "episodes": len(rewards), "reward": own._asdict()}
        numbers |= {"against_others": below._asdict()} if below else {}
        says = f"{source}: mean reward {own} in {len(rewards)} episodes"
        says += f", against the other sources {below}" if lags else ""
        says += ": its episodes harm the target." if harms else ": it helps the target less than they do."
        change = f"Take {source} out of the sources, or lower its cap."
        if evidence.setting("sampler.kind", "reinforce") in NEVER_LEARN:
            change += " Or let a sampler that learns avoid it (sampler.kind: reinforce)."
        settings = ("sources", "sampler.kind")
        found.append(
            Finding("source-mismatch", "problem" if harms else "note", says, change, settings, numbers)
        )
    return found


def collapsed(evidence: Evidence) -> list[Finding]:
    """A policy that gave itself to one source before it can have known."""
    found = []
    rewards = _rewards(evidence, relative=True)
    for seed, rows in sorted(_policies(evidence).items()):
        names, steps, table = rows
        if len(names) < 2 or len(steps) < ENOUGH_STEPS:
            continue
        over = [n for n in range(len(steps)) if table[n].max() > COLLAPSED]
        if not over or steps[over[0]] > EARLY * steps[-1]:
            continue
        source = names[int(table[over[0]].argmax())]
        others = [r for s, rs in rewards.items() if s != source for r in rs]
        known = min(len(rewards.get(source, [])), len(others)) >= ENOUGH
        better = difference(rewards[source], others, LEVEL) if known else None
        earned = better is not None and better.low > 0
        entropy = _entropy(table[-1])
        says = (
            f"Seed {seed}: from step {steps[over[0]]} of {steps[-1] + 1} on, {source} had more than "
            f"{COLLAPSED:.0%} of the policy (entropy at the end {entropy:.2f} of 1)"
        )
        if earned:
            says += f"; its rewards are higher than the others', by {better}."
        else:
            why = f"by {better} they are not surely higher" if better else "the others were hardly tried"
            says += f", which its rewards do not bear out: {why}."
        found.append(
            Finding(
                "sampler-collapsed",
                "note" if earned else "problem",
                says,
                "Raise sampler.entropy or sampler.floor, or lower sampler.rate.",
                ("sampler.entropy", "sampler.floor", "sampler.rate"),
                {"seed": seed, "source": source, "step": steps[over[0]], "entropy": entropy},
            )
        )
    return found


def never_learned(evidence: Evidence) -> list[Finding]:
    """A policy that ends where it began; whether the rewards had anything to learn from is told apart.

    Without any reward, as under a learner with an order of its own, nothing was asked of it.
    """
    policies = {s: rows for s, rows in _policies(evidence).items() if len(rows[1]) >= ENOUGH_STEPS}
    rewards = _rewards(evidence, relative=True)
    if not policies or not rewards or evidence.setting("sampler.kind", "reinforce") in NEVER_LEARN:
        return []
    distances = {}
    for seed, (names, steps, table) in policies.items():
        end = table[[n for n, step in enumerate(steps) if step >= (1 - END) * steps[-1]]].mean(0)
        distances[seed] = float(np.abs(end - 1 / len(names)).sum() / 2)
    if max(distances.values()) >= UNIFORM or min(len(rows[0]) for rows in policies.values()) < 2:
        return []
    p = groups_differ(rewards)
    numbers = {"distance_from_uniform": distances, "p_rewards_differ": p}
    seen = f"The policy ended within {max(distances.values()):.2f} of uniform in every seed"
    if p < LEVEL:
        says = f"{seen}, although the rewards tell the sources apart (p = {p:.2g})."
        change = "Raise sampler.rate or ctml.steps, or lower sampler.entropy."
        settings = ("sampler.rate", "ctml.steps", "sampler.entropy")
        return [Finding("sampler-never-learned", "problem", says, change, settings, numbers)]
    says = f"{seen}, and the rewards do not tell the sources apart (p = {p:.2g}): there was nothing to learn."
    change = "Raise ctml.reward for rewards with less noise, or save their cost with sampler.kind: uniform."
    return [Finding("sampler-never-learned", "note", says, change, ("ctml.reward", "sampler.kind"), numbers)]


def _rewards(evidence: Evidence, *, relative: bool) -> dict[str, list[float]]:
    """Rewards by source in CTML; relative: to the mean of all rewards of that quarter of the training."""
    rows = [
        (e["step"], source, float(reward))
        for e in evidence.stage("ctml")
        for source, reward in (e.get("rewards") or {e.get("source"): e.get("reward")}).items()
        if isinstance(reward, int | float) and isinstance(source, str)
    ]
    last = max((step for step, _, _ in rows), default=0) + 1
    quarters: dict[int, list[float]] = defaultdict(list)
    for step, _, reward in rows:
        quarters[4 * step // last].append(reward)
    means = {quarter: float(np.mean(values)) if relative else 0.0 for quarter, values in quarters.items()}
    found: dict[str, list[float]] = defaultdict(list)
    for step, source, reward in rows:
        found[source].append(reward - means[4 * step // last])
    return dict(found)


def _policies(evidence: Evidence) -> dict[object, tuple[list[str], list[int], np.ndarray]]:
    """Seed -> sources, steps, and the policy without its floor: (steps, sources)."""
    by_seed: dict[object, list[Record]] = defaultdict(list)
    for event in evidence.stage("ctml"):
        if event.get("probabilities") and "language" not in event:
            by_seed[event.get("seed")].append(event)
    floor = float(evidence.setting("sampler.floor", 0.0))
    policies = {}
    for seed, events in by_seed.items():
        names = list(events[0]["probabilities"])
        table = np.array([[e["probabilities"].get(name, 0.0) for name in names] for e in events])
        if floor < 1:
            table = ((table - floor / len(names)) / (1 - floor)).clip(min=0)
        policies[seed] = names, [int(e["step"]) for e in events], table
    return policies


def _entropy(p: Sequence[float] | np.ndarray) -> float:
    """In units of log n: 1 is uniform."""
    q = np.asarray(p)[np.asarray(p) > 0]
    return float(-(q * np.log(q)).sum() / np.log(len(p)))
