"""The cost model against what real episodes report, and the trunk's share of it."""

from collections import Counter
from typing import get_args

import pytest
import torch

from metaxcr.config.io import load_config
from metaxcr.config.schema import Config, LearnerName
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.runs.cost_model import Draws, StageWork, trunk_tokens, works
from metaxcr.runs.data_amounts import Amounts, Pool, typical
from metaxcr.runs.timing import Bench
from metaxcr.sampling import make_reward_schedule
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.training.loop import MetaTrainer

LANGUAGES = ("es", "sw", "tr")
# questions of a source are all as long, so that it does not matter which one a sampler chooses
SOURCE, REWARD, OTHER = (6, 3, 4), (5, 2, 2), (4, 3, 2)
TINY = (
    "run.seeds=[3]", "run.regimes=[zero-shot, few-shot, pooled-shots]", "adapters.bottleneck=4",
    "adapters.layers=[2]", "encoder.max_tokens=48",
    "encoder.dtype=float32", "target.languages=[es, sw, tr]", "target.parallel.languages=[es, sw]",
    "target.k=16", "ctml.steps=12", "ctml.support=4", "ctml.query=5", "ctml.reward=6", "ctml.pairs=3",
    "ctml.health_every=5", "clml.few_shot_steps=6", "clml.support=4", "clml.query=5", "clml.reward=6",
    "clml.health_every=7",
)  # fmt: skip


def pool(name: str, task: str, lengths: tuple[int, ...], items: int = 20) -> Pool:
    return Pool(name, task, items, sum(lengths), None, (lengths,))


def amounts(*, auxiliary: bool = False, config: Config) -> Amounts:
    sources = {name: pool(f"source {name}", name, SOURCE) for name in ("one", "two", "three")}
    own = typical(config)
    return Amounts(
        sources,
        None,
        pool("reward", "english", REWARD),
        {x: pool(f"auxiliary {x}", "aux", OTHER) for x in own.auxiliary} if auxiliary else {},
        own.adaptations,
        {x: pool(f"shots {x}", "target", OTHER, 16) for x in LANGUAGES},
        {x: pool(f"evaluated {x}", "target", OTHER) for x in LANGUAGES},
        {},
        {x: pool(f"sentences {x}", "sentences", (n,)) for n, x in enumerate(("en", "es", "sw"), 3)},
    )


def settings(*changes: str) -> Config:
    return load_config("starter", [*TINY, *changes])


PURPOSES = {
    "ctml": "ctml",
    "clml zero-shot-aux": "clml",
    "clml few-shot": "few-shot/es",
    "clml pooled-shots": "pooled",
}


def reported(config: Config, data: Amounts, encoder: FrozenEncoder) -> dict[str, dict[str, int]]:
    """Token-passes, part by part, that the real loop reports for a run of each kind."""
    bench, found = Bench(config, data, encoder, torch.float32), {}
    for key, stage, build in bench.stages():
        name = " ".join(filter(None, key))
        batches = BatchSampler(bench.store, 3, PURPOSES[name])
        episodes = build(batches)
        sampler = bench.sampler(episodes)
        rewards = make_reward_schedule(config.sampler.reward, fresh=stage is config.ctml)
        trainer = MetaTrainer(bench.model, episodes, sampler, stage, 3, batches.purpose, rewards)
        passes = Counter[str]()
        for _, event in trainer.train(trainer.start(bench.model.params(), sampler.init(3))):
            passes.update(event["passes"])
        found[name] = {part: n for part, n in passes.items() if n}
    return found


def predicted(config: Config, data: Amounts) -> dict[str, dict[str, int]]:
    found = {}
    for work in works(config, data):
        if work.stage in ("ctml", "clml"):
            share = len(LANGUAGES) if work.regime == "few-shot" else 1
            name = " ".join(filter(None, (work.stage, work.regime)))
            assert share == 1 or work.steps == share * config.clml.few_shot_steps
            found[name] = {part: n for part, n in work.parts.items() if n}
    return found


def assert_agreement(
    config: Config, encoder: FrozenEncoder, *, auxiliary: bool = False, rel: float = 1e-9
) -> None:
    # one tested language in few-shot, because each is a run of its own
    data = amounts(auxiliary=auxiliary, config=config)
    real = reported(config, data, encoder)
    model = predicted(config, data)
    few = settings_of_one(config)
    one = Amounts(**{**vars(data), "shots": {"es": data.shots["es"]}})
    if "clml few-shot" in model:
        model["clml few-shot"] = predicted_few(few, one)
    assert {name: pytest.approx(parts, rel=rel) for name, parts in model.items()} == real


def settings_of_one(config: Config) -> Config:
    return config.model_copy(update={"run": config.run.model_copy(update={"regimes": ["few-shot"]})})


def predicted_few(config: Config, data: Amounts) -> dict[str, float]:
    (work,) = (w for w in works(config, data) if w.stage == "clml")
    return {part: n for part, n in work.parts.items() if n}


@pytest.mark.parametrize("learner", get_args(LearnerName))
def test_every_learner_is_predicted_exactly(toy_encoder: FrozenEncoder, learner: str) -> None:
    words = [f"{stage}.learner={learner}" for stage in ("ctml", "clml")]
    if learner not in ("multi-task", "sequential"):
        words += ["ctml.inner_steps=2", "clml.inner_steps=3"]
    if learner == "imaml":  # a system that is solved in fewer iterations than allowed would cost less
        words += [f"{stage}.imaml={{strength: 1000.0, cg_steps: 1}}" for stage in ("ctml", "clml")]
    if learner == "mmt":
        words += [f"{stage}.tasks_per_step=3" for stage in ("ctml", "clml")]
    assert_agreement(settings(*words), toy_encoder)


@pytest.mark.parametrize("learner", ["anil", "maml", "meta-sgd"])
def test_so_is_its_first_order(toy_encoder: FrozenEncoder, learner: str) -> None:
    words = [f"{s}.{w}" for s in ("ctml", "clml") for w in (f"learner={learner}", "first_order=true")]
    assert_agreement(settings(*words), toy_encoder)


@pytest.mark.parametrize(
    "changes",
    [
        ["sampler.reward.kind=loss-drop"],
        ["sampler.reward.every=3", "sampler.reward.refresh=4"],
        ["sampler.reward.sources=all", "ctml.learner=x-metra-ada"],
        ["sampler.reward={kind: accuracy-gain, sources: all}"],
        ["sampler.reward.all_first=3"],
        ["ctml.alignment=0.5", "ctml.alignment_every=3", "ctml.learner=reptile"],
        ["sampler.kind=uniform"],
        ["clml.cross_task=0.2", "clml.reward_data=english"],
        ["clml.cross_task=1.0", "target.k=6"],
        ["clml.languages=reinforce"],
        ["ctml.support=30", "ctml.query=30"],
    ],
)
def test_so_are_rewards_samplers_and_shares(toy_encoder: FrozenEncoder, changes: list[str]) -> None:
    assert_agreement(settings(*changes), toy_encoder)


def test_all_arms_are_taken_to_be_as_long_as_the_drawn_one(toy_encoder: FrozenEncoder) -> None:
    assert_agreement(settings("clml.languages=reinforce", "sampler.reward.sources=all"), toy_encoder, rel=0.1)


def test_so_are_auxiliary_languages(toy_encoder: FrozenEncoder) -> None:
    words = ["run.regimes=[zero-shot-aux, few-shot]", "clml.steps=20", "clml.alignment=0.5", "clml.pairs=4"]
    auxiliary = "target.auxiliary={task: starter_target, split: shots, languages: [it, zh]}"
    assert_agreement(settings(*words, auxiliary), toy_encoder, auxiliary=True)
    assert_agreement(settings(*words, auxiliary, "clml.languages=reinforce"), toy_encoder, auxiliary=True)


def test_long_runs_are_like_their_beginning() -> None:
    config = settings("ctml.steps=4000", "sampler.kind=uniform")
    data = amounts(config=config)
    short, long = (next(w for w in works(config, data, most) if w.stage == "ctml") for most in (200, 4000))
    assert short.steps == long.steps == 4000
    assert short.passes == pytest.approx(long.passes, rel=0.005)
    assert sum(d.times for d in short.draws) == pytest.approx(sum(d.times for d in long.draws))


def test_the_trunk_holds_each_drawn_text_once() -> None:
    config = settings("run.regimes=[zero-shot]")
    data = amounts(config=config)
    data = Amounts(**{**vars(data), "shots": {}, "sentences": {}, "evaluation": {}, "baseline": {}})
    one, two, _ = data.sources.values()
    always = 20 * sum(REWARD)
    work = StageWork("ctml", "", draws=[Draws(one, 5, 1)])
    assert trunk_tokens(config, data, [work]).tokens == pytest.approx(always + 5 * 13)
    work.draws += [Draws(one, 10, 1), Draws(two, 20, 3)]
    found = trunk_tokens(config, data, [work])
    assert found.tokens == pytest.approx(always + 13 * (20 * (1 - 0.75 * 0.5) + 20))
    assert found.whole == always + 13 * 60
