"""The rules of the diagnosis, each a pure function of the evidence that a run left.

The thresholds were fixed by reasoning, not fitted to runs. Losses are in units of the loss of guessing (1.0
is chance); probabilities are those of the policy without the floor of ``sampler.floor``.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from metaxcr.config.schema import LEARNING_SAMPLERS
from metaxcr.diagnosis.findings import (
    SEVERITIES,
    Evidence,
    Finding,
    Record,
    difference,
    groups_differ,
    mean_interval,
)

LEVEL: Final = 0.05  # of every test; divided by the number of sources or languages that are looked at
ENOUGH: Final = 8  # numbers of a kind that a rule wants before it says anything
ENOUGH_STEPS: Final = 40  # steps of a stage before a rule looks at how it went on
COLLAPSED: Final = 0.9  # a source with more than this has the policy to itself
EARLY: Final = 1 / 3  # share of the steps in which a policy cannot know so much yet
UNIFORM: Final = 0.1  # total variation distance from uniform; below, nothing was learned
END: Final = 0.25  # last share of the steps, by which the end of a stage is judged
WEAK_ALIGNMENT: Final = 0.5  # contrastive loss of parallel sentences: half of guessing is still missing
RISING: Final = 0.25  # share of episodes in which the inner loop may raise the support loss
OVERFITTED: Final = 0.05  # fine-tuning loss below which the shots are overfitted
PLAIN: Final = 0.995  # cosine of meta-gradient and plain gradient above which they are the same in practice
ENOUGH_REWARDS: Final = 10  # rewards a source before a policy can know it from the others
RUNAWAY: Final = 0.5  # |W - I| / |I| of the scorer above which little is left of the encoder's similarity
STILL_FALLING: Final = 0.02  # fall of the query loss from the third quarter to the last


def diverged(evidence: Evidence) -> list[Finding]:
    """A run that stopped because a loss or gradient was not finite, or far too large."""
    found = []
    for event in (e for e in evidence.events if "diverged" in e):
        settings = tuple(event.get("change", ()))
        where = f"{event['stage']}, seed {event.get('seed')}, stopped at step {event['step']}"
        says = f"{where}: the {event['diverged']} was not finite, or absurd."
        change = f"Lower {' or '.join(settings)} and start a new run; the last good state is kept."
        found.append(Finding("diverged", "problem", says, change, settings, dict(event)))
    return found


def diverging(evidence: Evidence) -> list[Finding]:
    """Query losses that end above guessing and above their start."""
    found = []
    for name, events in _groups(evidence).items():
        first, last = _quarter(events, 0), _quarter(events, 3)
        if min(len(first), len(last)) < ENOUGH or sum(last) / len(last) <= 1:
            continue
        rise = difference(last, first, LEVEL)
        if rise.low <= 0:
            continue
        stage = name.split()[0]
        says = (
            f"{name}: the query loss rose by {rise} to {sum(last) / len(last):.2f}, which is above guessing "
            "(1.0): the training diverges."
        )
        settings = (f"{stage}.outer_lr", f"{stage}.inner_lr")
        change = f"Lower {settings[0]} or {settings[1]}."
        found.append(Finding("diverging", "problem", says, change, settings, {"rise": rise._asdict()}))
    return found


def unstable_inner_loop(evidence: Evidence) -> list[Finding]:
    """Inner loops that raise the support loss in many episodes."""
    found = []
    for name, events in _groups(evidence, enough=1).items():
        paths = [e["inner_losses"] for e in events if len(e.get("inner_losses") or ()) > 1]
        risen = sum(path[-1] > path[0] for path in paths)
        if len(paths) < ENOUGH or risen / len(paths) <= RISING:
            continue
        stage = name.split()[0]
        says = (
            f"{name}: the inner loop raised the support loss in {risen} of {len(paths)} episodes that were "
            f"looked at ({risen / len(paths):.0%})."
        )
        settings = (f"{stage}.inner_lr", f"{stage}.inner_steps")
        change = f"Lower {settings[0]}, or take fewer {settings[1]}."
        numbers = {"risen": risen, "episodes": len(paths)}
        found.append(Finding("inner-loop-unstable", "problem", says, change, settings, numbers))
    return found


def degenerate(evidence: Evidence) -> list[Finding]:
    """Meta-gradients that are plain gradients: the inner loop hardly moves."""
    found = []
    for name, events in _groups(evidence, enough=1).items():
        health = _health(events, "plain_cosine", "moved", "query_drop")
        cosines = health["plain_cosine"]
        if len(cosines) < ENOUGH or float(np.median(cosines)) <= PLAIN:
            continue
        stage, numbers = name.split()[0], {key: float(np.median(values)) for key, values in health.items()}
        says = (
            f"{name}: the meta-gradient has cosine {numbers['plain_cosine']:.4f} with the plain gradient of "
            f"the same batches (median of {len(cosines)} episodes): this is multi-task training. The inner "
            f"loop moves phi by {numbers['moved']:.2g} and lowers the query loss by "
            f"{numbers['query_drop']:.2g}."
        )
        settings = (f"{stage}.inner_lr", f"{stage}.inner_steps")
        change = (
            f"Raise {settings[0]} or {settings[1]}, or save the compute with {stage}.learner: multi-task."
        )
        found.append(Finding("inner-loop-idle", "note", says, change, settings, numbers))
    return found


def alignment_outweighs(evidence: Evidence) -> list[Finding]:
    """Alignment terms whose gradient is longer than that of the labels, over all episodes."""
    found = []
    for name, events in _groups(evidence, enough=1).items():
        ratios = _health(events, "alignment_ratio")["alignment_ratio"]
        stage = name.split()[0]
        share = 1 / int(evidence.setting(f"{stage}.alignment_every", 1))
        if len(ratios) < ENOUGH or (weight := float(np.median(ratios)) * share) <= 1:
            continue
        says = (
            f"{name}: over all episodes the gradient of the alignment term is {weight:.1f} times as long as "
            f"that of the labels (median of {len(ratios)} episodes)."
        )
        settings = (f"{stage}.alignment", f"{stage}.alignment_every")
        change = f"Lower {settings[0]}, or raise {settings[1]}."
        found.append(Finding("alignment-outweighs", "problem", says, change, settings, {"ratio": weight}))
    return found


def scorer_runaway(evidence: Evidence) -> list[Finding]:
    """Scorers that have left the identity, the similarity of the encoder, far behind."""
    found = []
    for name, events in _groups(evidence, enough=1).items():
        distances = _health(sorted(events, key=lambda e: e["step"]), "scorer_distance")["scorer_distance"]
        if not distances or distances[-1] <= RUNAWAY:
            continue
        stage = name.split()[0]
        says = (
            f"{name}: the scorer ends {distances[-1]:.2f} times its own length away from the identity, the "
            "similarity of the encoder, which it started as."
        )
        settings = (f"{stage}.scorer_lr",)
        change = f"Lower {settings[0]} (a tenth of {stage}.outer_lr is a good start)."
        numbers = {"scorer_distance": distances[-1]}
        found.append(Finding("scorer-runaway", "problem", says, change, settings, numbers))
    return found


def _health(events: list[Record], *keys: str) -> dict[str, list[float]]:
    """The numbers of the episodes that were looked at, by their name."""
    looks = [e["health"] for e in events if isinstance(e.get("health"), dict)]
    return {key: [float(look[key]) for look in looks if key in look] for key in keys}


def too_few_steps(evidence: Evidence) -> list[Finding]:
    """Query losses that were still falling when the stage ended."""
    found = []
    for name, events in _groups(evidence).items():
        third, last = _quarter(events, 2), _quarter(events, 3)
        if min(len(third), len(last)) < ENOUGH:
            continue
        fall = difference(third, last, LEVEL)
        if fall.low <= 0 or fall.mean < STILL_FALLING:
            continue
        setting = f"{name.split()[0]}.steps"
        says = f"{name}: the query loss was still falling in the last {END:.0%} of the steps, by {fall}."
        found.append(
            Finding("too-few-steps", "note", says, f"Raise {setting}.", (setting,), {"fall": fall._asdict()})
        )
    return found


def _groups(evidence: Evidence, enough: int = ENOUGH_STEPS) -> dict[str, list[Record]]:
    """Events of each training, all seeds together: CTML, each run of CLML on auxiliary data, CLML on shots.

    CLML on shots is too short for all rules but that of the inner loop; see :func:`overfitted_shots`.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for event in evidence.stage("ctml", "clml"):
        name = event["stage"]
        if name == "clml":
            shots = "language" in event or event.get("regime") == "pooled-shots"
            name = "clml on shots" if shots else f"clml {event.get('adaptation', '')}".strip()
        groups[name].append(event)
    lengths = {name: max(e["step"] for e in events) + 1 for name, events in groups.items()}
    return {name: events for name, events in groups.items() if lengths[name] >= enough}


def _quarter(events: list[Record], number: int) -> list[float]:
    """Query losses of one quarter of the steps, of episodes of all kinds."""
    steps = max(e["step"] for e in events) + 1
    losses = ((e["step"], e.get("query_loss")) for e in events)
    return [float(x) for step, x in losses if x is not None and 4 * step // steps == number]


def _sampler_learns(evidence: Evidence) -> bool:
    return evidence.setting("sampler.kind", "reinforce") in LEARNING_SAMPLERS


def mismatched_sources(evidence: Evidence) -> list[Finding]:
    """Sources whose rewards are significantly below zero, or below those of the others.

    Loss drops shrink during training, so sources are compared by the difference of a reward from the mean of
    its quarter of the training.
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
        if not _sampler_learns(evidence):
            change += " Or let a sampler that learns avoid it (sampler.kind: reinforce)."
        settings = ("sources", "sampler.kind")
        found.append(
            Finding("source-mismatch", "problem" if harms else "note", says, change, settings, numbers)
        )
    return found


def collapsed(evidence: Evidence) -> list[Finding]:
    """A policy that chose one source almost always, before there was evidence for it."""
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
            why = (
                f"they are not significantly higher ({better})" if better else "the others were hardly tried"
            )
            says += f", which its rewards do not support: {why}."
        found.append(
            Finding(
                "sampler-collapsed",
                "note" if earned else "problem",
                says,
                "Raise sampler.entropy or sampler.floor, or lower sampler.lr.",
                ("sampler.entropy", "sampler.floor", "sampler.lr"),
                {"seed": seed, "source": source, "step": steps[over[0]], "entropy": entropy},
            )
        )
    return found


def never_learned(evidence: Evidence) -> list[Finding]:
    """A policy that ends near uniform: a problem if the rewards of the sources differ, else a note.

    Learners with an order of their own give no rewards; they are no finding.
    """
    policies = {s: rows for s, rows in _policies(evidence).items() if len(rows[1]) >= ENOUGH_STEPS}
    rewards = _rewards(evidence, relative=True)
    if not policies or not rewards or not _sampler_learns(evidence):
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
        change = "Raise sampler.lr or ctml.steps, or lower sampler.entropy."
        settings = ("sampler.lr", "ctml.steps", "sampler.entropy")
        return [Finding("sampler-never-learned", "problem", says, change, settings, numbers)]
    says = f"{seen}, and the rewards do not tell the sources apart (p = {p:.2g}): there was nothing to learn."
    change = "Raise ctml.reward for rewards with less noise, or save their cost with sampler.kind: uniform."
    return [Finding("sampler-never-learned", "note", says, change, ("ctml.reward", "sampler.kind"), numbers)]


def too_few_rewards(evidence: Evidence) -> list[Finding]:
    """Samplers that learn from fewer rewards than it takes to know the sources apart."""
    if not _sampler_learns(evidence):
        return []
    rewards, policies = _rewards(evidence, relative=False), _policies(evidence)
    sources = max((len(names) for names, _, _ in policies.values()), default=0)
    if sources < 2 or not rewards:
        return []
    count = sum(map(len, rewards.values())) / len(policies)
    if not ENOUGH <= count < ENOUGH_REWARDS * sources:
        return []
    says = (
        f"The sampler saw {count:.0f} rewards for {sources} sources; to tell them apart it takes about "
        f"{ENOUGH_REWARDS} a source."
    )
    settings = ("ctml.steps", "sampler.reward.all_first")
    change = f"Raise {settings[0]}, or let all sources be rewarded at first ({settings[1]}: 8)."
    return [
        Finding("too-few-rewards", "note", says, change, settings, {"rewards": count, "sources": sources})
    ]


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


def weak_alignment(evidence: Evidence) -> list[Finding]:
    """Languages whose sentences do not find their translations.

    Measured on held-out sentences if ``metaxcr adapters align`` was called, else by the contrastive loss of
    the training.
    """
    seen = _measured(evidence) if evidence.alignment else _trained(evidence)
    if seen is None:
        return []
    named, numbers = seen
    says = f"{named}: what is learned in English hardly reaches {'it' if len(numbers) == 1 else 'them'}."
    settings = ("ctml.alignment", "target.parallel", "adapters.language")
    change = (
        "Raise ctml.alignment or ctml.steps, give more parallel text (target.parallel), or language adapters "
        "(adapters.language)."
    )
    return [Finding("weak-alignment", "problem", says, change, settings, numbers)]


def _measured(evidence: Evidence) -> tuple[str, Record] | None:
    """Weak languages by retrieval after the last layer, with the largest stack that was measured."""
    from metaxcr.evaluation.alignment import weak_languages  # here, because it needs torch

    stack = evidence.alignment[-1]["stack"]
    weak = weak_languages([row for row in evidence.alignment if row["stack"] == stack])
    if not weak:
        return None
    shares = ", ".join(f"{row['language']} {100 * row['retrieval']:.0f} %" for row in weak)
    named = (
        f"Few sentences find their English translation among {weak[0].get('n', 'all')} ({stack}): {shares}"
    )
    return named, {row["language"]: {key: row[key] for key in ("retrieval", "ci95", "stack")} for row in weak}


def _trained(evidence: Evidence) -> tuple[str, Record] | None:
    """Weak languages by the contrastive loss at the end of CTML and CLML."""
    losses: dict[str, list[float]] = defaultdict(list)
    measured = ("alignment_loss", "alignment_language")
    events = [e for e in evidence.stage("ctml", "clml") if all(e.get(key) is not None for key in measured)]
    for stage in ("ctml", "clml"):
        last = max((e["step"] for e in events if e["stage"] == stage), default=0) + 1
        for event in events:
            if event["stage"] == stage and event["step"] >= (1 - END) * last:
                losses[event["alignment_language"]].append(float(event["alignment_loss"]))
    enough = {language: values for language, values in losses.items() if len(values) > 1}
    found = {x: mean_interval(values, LEVEL / len(enough)) for x, values in enough.items()}
    weak = {x: found[x] for x in sorted(found, key=lambda x: -found[x].mean) if found[x].low > WEAK_ALIGNMENT}
    if not weak:
        return None
    named = ", ".join(f"{x} {interval.mean:.2f}" for x, interval in weak.items())
    says = (
        f"Sentences and their English translations are far apart in {named} (contrastive loss at the end of "
        "training; 1.0 is guessing, 0 is perfect)"
    )
    return says, {language: interval._asdict() for language, interval in weak.items()}


def overfitted_shots(evidence: Evidence) -> list[Finding]:
    """Shots that are overfitted, while few-shot accuracy is not above zero-shot."""
    ends: dict[object, float] = {}
    for event in (e for e in evidence.stage("finetune") if e.get("loss") is not None):
        run = (event.get("seed"), event.get("language"), event.get("regime"), event.get("clml"))
        ends[run] = float(event["loss"])
    if not ends:
        return []
    loss, gain = float(np.mean(list(ends.values()))), _gain(evidence.results)
    overfitted, worse = loss < OVERFITTED, gain is not None and gain["ci95"][1] < 0
    if not worse and not (overfitted and (gain is None or gain["mean"] <= 0)):
        return []
    says = f"The loss on the shots ended at {loss:.2f} of guessing (mean of {len(ends)} fine-tunings)"
    if gain is not None:
        low, high = (100 * x for x in gain["ci95"])
        says += (
            f", and few-shot minus zero-shot accuracy is {100 * gain['mean']:+.1f} [{low:+.1f}, {high:+.1f}]"
        )
        says += " points"
    settings = ("finetune.lr", "finetune.steps", "clml.few_shot_steps", "target.k")
    change = "Lower finetune.lr, finetune.steps or clml.few_shot_steps, or label more shots (target.k)."
    numbers: Record = {"loss": loss, "fine_tunings": len(ends), "few_shot_minus_zero_shot": gain}
    says += ": they are overfitted." if overfitted else "."
    return [Finding("shots-overfitted", "problem" if worse else "note", says, change, settings, numbers)]


def _gain(results: Record) -> Record | None:
    """The paired difference of few-shot and zero-shot accuracy on the repaired data, if there is one."""
    for row in results.get("differences", ()):
        repaired = row.get("data", "repaired") == "repaired"
        if repaired and str(row["a"]).startswith("few-shot/") and str(row["b"]).startswith("zero-shot/"):
            return {"mean": row["mean"], "ci95": list(row["ci95"])}
    return None


RULES: tuple[Callable[[Evidence], list[Finding]], ...] = (
    diverged,
    diverging,
    unstable_inner_loop,
    degenerate,
    alignment_outweighs,
    scorer_runaway,
    mismatched_sources,
    collapsed,
    never_learned,
    too_few_rewards,
    weak_alignment,
    overfitted_shots,
    too_few_steps,
)


def diagnose(evidence: Evidence) -> list[Finding]:
    """The findings of all rules: problems before notes, otherwise in the order of the rules."""
    found = [finding for rule in RULES for finding in rule(evidence)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
