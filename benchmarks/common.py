"""What the jobs of the benchmark share: the project's model and stores over the prepared questions.

A job gets a folder with ``settings.json`` (written by ``run.py``) and what ``prepare`` puts beside it: the
questions as token ids, the episodes and the initial weights; and the encoder as files, where a job needs it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import BertModel

import measure
import plain_loop
from measure import Memory, Result, read_json, write_json
from metaxcr.config.schema import Config, Meta
from metaxcr.data.example import Example
from metaxcr.data.phrasing import phrase
from metaxcr.data.registry import load
from metaxcr.encoders import embedded
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import FrozenEncoder, Ragged, Text, TokenizedText
from metaxcr.encoders.loading import load_encoder
from metaxcr.model.batch import DIRECTIONS, Batch, TaskData, make_batch, texts_of
from metaxcr.model.build import build_model
from metaxcr.model.choice_model import ChoiceModel, Params
from metaxcr.sampling import make_sampler
from metaxcr.seeding import rng
from metaxcr.training.episodes import Episode
from metaxcr.training.loop import MetaState, MetaTrainer

MAX_TOKENS, LOOK = 128, 64  # a text; questions of a reward batch


def read_bert() -> BertModel:
    """The encoder as a ``BertModel`` of transformers, float32."""
    return embedded.build_model(embedded.parse(embedded.read_verified(embedded.locate())))


def config_of(s: SimpleNamespace, layers: Sequence[int], **meta: Any) -> Config:
    """The project's settings: its defaults, but for what all contenders share."""
    return Config.model_validate(
        {
            "encoder": {"name": "embedded", "dtype": s.dtype, "max_tokens": MAX_TOKENS},
            "adapters": {"layers": list(layers), "bottleneck": s.bottleneck},
            "scoring": {
                "kind": "dual",
                "temperature": plain_loop.TEMPERATURE,
                "negatives": plain_loop.NEGATIVES,
            },
            "sources": [{"task": "ecare"}],
            "target": {"task": "xcopa", "languages": ["et"], "english": {"task": "copa"}},
            "ctml": {
                "steps": s.episodes,
                "support": s.support,
                "query": s.query,
                "learner": "fomaml",
                "inner_steps": 1,
                "inner_lr": s.inner_lr,
                "outer_lr": s.outer_lr,
                "warmup": plain_loop.WARMUP,
                "average": 0.0,
                **meta,
            },
        }
    )


class Uncached(ActivationCache):
    """A store that keeps token ids alone: every batch passes all layers, as without the trunk cache."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._ids: dict[int, TokenizedText] = {}

    def ensure(self, texts: Sequence[Text], *rest: Any, **named: Any) -> list[int]:
        """Tokenise."""
        texts = list(texts)
        numbers = self.register(texts)
        self._ids |= zip(numbers, self.encoder.tokenize(texts, self.max_tokens), strict=True)
        return numbers

    def gather(self, numbers: Sequence[int]) -> Ragged:
        """Run the layers below the first adapter."""
        embedded_texts = self.encoder.embed([self._ids[n] for n in numbers])
        hidden = self.encoder.run(embedded_texts, 0, self.layer, self.dtype)
        return Ragged(hidden, embedded_texts.lengths)


class Setup:
    """The prepared questions and the project's model for one setting of the adapters' layers."""

    def __init__(self, s: SimpleNamespace, work: Path, setting: str = "", **meta: Any) -> None:
        self.s, self.work = s, work
        self.questions = read_json(work / "questions.json")
        self.plan: list[dict[str, list[int]]] = self.questions["episodes"]
        self.config = config_of(s, s.settings[setting], **meta) if setting else None
        self.setting = setting
        self.memory, self.events = Memory(), list[dict[str, Any]]()

    @property
    def ctml(self) -> Meta:
        """Settings of the meta-training."""
        assert self.config is not None
        return self.config.ctml

    def split(self, name: str) -> tuple[list[Example], Callable[[Example], Any]]:
        """Examples of e-CARE in the order of the prepared rows, and how they are phrased."""
        loaded = load("ecare", {"train": "train", "pool": "train", "dev": "dev"}[name])
        rows = self.questions["rows"][name]
        return [loaded.examples[r] for r in rows], lambda e: phrase(e, loaded.spec)

    def plain_episodes(self, count: int) -> list[tuple[list[plain_loop.Question], list[plain_loop.Question]]]:
        """Episodes for contenders that take token ids."""
        train = self.questions["train"]
        parts = [[[train[r] for r in e[part]] for part in ("support", "query")] for e in self.plan[:count]]
        return [(support, query) for support, query in parts]

    @property
    def sizes(self) -> tuple[list[int], list[int]]:
        """Questions and real tokens of each episode."""
        train = self.questions["train"]
        rows = [e["support"] + e["query"] for e in self.plan]
        return [len(r) for r in rows], [sum(train[i]["tokens"] for i in r) for r in rows]

    def start(self) -> Params:
        """The initial adapters and W, the same for all contenders."""
        return load_file(self.work / f"start-{self.setting}.safetensors")

    def model(self, encoder: FrozenEncoder | None = None) -> ChoiceModel:
        """The project's model; its weights are those of :meth:`start`."""
        assert self.config is not None
        return build_model(self.config, encoder or load_encoder("embedded"), self.s.seed)

    def store(self, model: ChoiceModel, cache: Path | None) -> ActivationCache:
        """The trunk's store, in a cache folder, or without a cache."""
        kind = Uncached if cache is None else ActivationCache
        dtype = measure.DTYPES[self.s.dtype]
        folder = Path() if cache is None else cache
        return kind(model.adapted.encoder, model.adapted.start, dtype, folder, max_tokens=MAX_TOKENS)

    def episodes(self, data: TaskData, store: ActivationCache, sources: int = 1) -> "PlannedEpisodes":
        """The planned episodes; with several sources all of them are the same data under other names."""
        return PlannedEpisodes(self.plan, data, store, [f"ecare-{i}" for i in range(sources)])

    def train(
        self, model: ChoiceModel, data: TaskData, store: ActivationCache, steps: int
    ) -> Iterator[MetaState]:
        """The first steps of the project's own meta-training loop."""
        sampler = make_sampler(self.config.sampler.model_copy(update={"kind": "uniform"}), [len(data)])
        trainer = MetaTrainer(model, self.episodes(data, store), sampler, self.ctml, self.s.seed, "ctml")
        loop = trainer.train(trainer.start(self.start(), sampler.init(self.s.seed)))
        for _, (after, event) in zip(range(steps), loop, strict=False):
            self.events.append(event)
            yield after


@dataclass(frozen=True)
class PlannedEpisodes:
    """Episodes whose questions were drawn beforehand, the same for all contenders."""

    plan: list[dict[str, list[int]]]
    data: TaskData
    store: ActivationCache
    sources: list[str]

    def uses_source(self, step: int) -> bool:
        """All do."""
        return True

    def sample(self, step: int, source: int) -> Episode:
        """The planned episode of a step."""
        plan = self.plan[step % len(self.plan)]
        batches = [make_batch(self.data, plan[part], self.store) for part in ("support", "query")]
        return Episode(*batches, about={"source": self.sources[source]})

    def reward_batch(self, step: int) -> Batch:
        """The first questions."""
        return make_batch(self.data, list(range(min(LOOK, len(self.data)))), self.store)


def prepare(s: SimpleNamespace, work: Path) -> Result:
    """Choose questions, tokenise them, plan the episodes, write the initial weights."""
    encoder = load_encoder("embedded")
    train, dev = load("ecare", "train"), load("ecare", "dev")
    pool = sorted(rng(s.seed, "bench/pool").permutation(len(train.examples))[: s.pool].tolist())
    plans = [rng(s.seed, "bench/rows", t).permutation(len(pool)) for t in range(s.episodes)]
    drawn = [[pool[i] for i in plan[: s.support + s.query]] for plan in plans]
    used = sorted({row for rows in drawn for row in rows})
    place = {row: n for n, row in enumerate(used)}
    dev_rows = sorted(rng(s.seed, "bench/dev").permutation(len(dev.examples))[: s.dev].tolist())
    episodes = [
        {"support": [place[r] for r in rows[: s.support]], "query": [place[r] for r in rows[s.support :]]}
        for rows in drawn
    ]
    content = {
        "rows": {"train": used, "pool": pool, "dev": dev_rows},
        "episodes": episodes,
        "train": [prepared_question(train.examples[r], train.spec, encoder) for r in used],
        "dev": [prepared_question(dev.examples[r], dev.spec, encoder) for r in dev_rows],
    }
    write_json(work / "questions.json", content)
    for setting, layers in s.settings.items():
        model = build_model(config_of(s, layers), encoder, s.seed)
        save_file(model.params(), work / f"start-{setting}.safetensors")
    lengths = [len(t) for q in content["train"] for t in q["texts"]]
    return {
        "train_questions": len(used),
        "dev_questions": len(dev_rows),
        "pool_questions": len(pool),
        "mean_tokens_a_text": round(sum(lengths) / len(lengths), 2),
        "longest_text_tokens": max(lengths),
        "hardware": measure.hardware(),
        "versions": measure.versions(),
    }


def write_encoder(s: SimpleNamespace, work: Path) -> Result:
    """Write the encoder as files, for the contender that lives in another environment."""
    read_bert().save_pretrained(work / "encoder")
    return {}


def prepared_question(example: Example, spec: Any, encoder: FrozenEncoder) -> plain_loop.Question:
    """An example as token ids."""
    phrased = phrase(example, spec)
    context, choices = texts_of(phrased, "dual")
    assert context is not None
    ids = [t.ids for t in encoder.tokenize([context, *choices], MAX_TOKENS)]
    direction = list(DIRECTIONS[phrased.relation])
    return {"texts": ids, "label": example.label, "direction": direction, "tokens": sum(map(len, ids))}
