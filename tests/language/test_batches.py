"""Batches: the same whatever was computed before."""

import torch

from metaxcr.encoders.base import FrozenEncoder
from metaxcr.language.batches import Batches
from metaxcr.language.packing import pack
from metaxcr.language.pieces import frame, pieces

from .conftest import MASK, VOCABULARY, toy_lines
from .test_mlm import build


def batches(encoder: FrozenEncoder, **changes: int) -> Batches:
    sequences = pack(pieces(encoder, toy_lines(30), whole_words=True), frame(encoder), 32)
    model = build(encoder, [1], None)
    wanted = {"seed": 0, "size": 4, "rounds": 2, "limit_bytes": 10**9, **changes}
    rows = list(range(4, VOCABULARY))
    return Batches(model, sequences, "train", mask_id=MASK, rows=rows, **wanted)


def test_every_pass_has_every_batch_once_in_an_order_and_a_masking_of_its_own(encoder: FrozenEncoder) -> None:
    some = batches(encoder)
    n = len(some)
    assert n > 2
    passes = [[some.at(number * n + k) for k in range(n)] for number in range(3)]
    places = [{tuple(b.places.tolist()) for b in one} for one in passes]
    assert all(len(one) == n for one in places)
    assert places[0] == places[2] != places[1]  # two maskings in turn
    order = [[tuple(b.places.tolist()) for b in one] for one in passes]
    assert order[0] != order[2]


def test_what_is_kept_changes_nothing(encoder: FrozenEncoder) -> None:
    keeping, forgetting = batches(encoder), batches(encoder, limit_bytes=1)
    for step in (5, 0, 5, 1, 0):
        one, other = keeping.at(step), forgetting.at(step)
        assert torch.equal(one.trunk.hidden, other.trunk.hidden) and torch.equal(one.bare, other.bare)
    assert keeping.at(5) is keeping.at(5)


def test_owners_count_through_all_sequences(encoder: FrozenEncoder) -> None:
    some = batches(encoder)
    everything = torch.cat([b.owners for b in some.all()])
    owners = some.owners()
    assert len(owners) == len(everything) and set(owners.tolist()) == set(range(some.size))
    assert owners[: len(some.get(0, 0).owners)].tolist() == some.get(0, 0).owners.tolist()
