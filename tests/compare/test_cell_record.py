"""Records of cells: what is encoded comes back, what is damaged is refused."""

import numpy as np
import pytest

from metaxcr.compare.cell_record import CellRecord, encode_predictions, ids_digest
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import Predictions


def predictions(n: int = 501, seed: int = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    rows = [generator.dirichlet(np.ones(2 + i % 3)).tolist() for i in range(n)]
    labels = [int(generator.integers(len(row))) for row in rows]
    ids = [f"test-{i}" for i in range(n)]
    return Predictions(
        "xcopa", "sw", "test", "repaired", "few-shot", "finetune", 3, 16, 16, ids, rows, labels
    )


def record(found: Predictions, **changes: object) -> CellRecord:
    costs = {"ctml": {"seconds": 1.0, "token_passes": 5, "shared": True}}
    costs["trunk"] = {"seconds": 2.0, "token_passes": 9, "shared": True}
    about = {"key": "k" * 16, "config_hash": "c" * 16, "kind": "trained", "regime": found.regime}
    about |= {"k": found.k, "seed": found.seed, "costs": costs, "parameters": {"trained": 4}}
    about |= {"checksums": {"xcopa/test/sw": "0"}, "command": "metaxcr run", "environment": {}}
    return CellRecord(**{**about, **encode_predictions(found), **changes})


def test_what_is_packed_comes_back_small() -> None:
    found = predictions()
    made = record(found)
    again = CellRecord.from_dict(made.as_dict(), "file")
    assert again == made
    assert again.right.tolist() == found.correct.tolist() and again.label.tolist() == found.labels
    for row, mine in zip(found.probabilities, again.probability, strict=True):
        assert mine[: len(row)] == pytest.approx(row, abs=1e-5) and not mine[len(row) :].any()
    assert len(made.correct) + len(made.probabilities) + len(made.labels) < 7000
    assert (made.token_passes, made.seconds) == (5, 3.0)
    assert made.items == ids_digest(found.ids) != ids_digest(found.ids[::-1])


@pytest.mark.parametrize(
    "change",
    [{"schema": 9}, {"correct": "AAAA"}, {"labels": "?"}, {"n": 7}, {"accuracy": 0.1}, {"probabilities": ""}],
)
def test_damage_is_refused(change: dict) -> None:
    with pytest.raises(UserError, match=r"\(file\): remove the file"):
        CellRecord.from_dict(record(predictions()).as_dict() | change, "file")
    value = record(predictions()).as_dict()
    value.pop("costs")
    with pytest.raises(UserError, match="damaged"):
        CellRecord.from_dict(value, "file")
