"""Settings of a training."""

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError

from metaxcr.adapters.language_adapter import MAD_X_REDUCTION
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.mlm.masked_lm import OwnHead, TiedHead
from metaxcr.mlm.preparation import LanguageTraining, Request, prepare


def test_the_defaults_are_those_of_mad_x() -> None:
    settings = LanguageTraining()
    assert settings.chosen_layers(12) == list(range(12)) and settings.invertible
    assert settings.reduction == MAD_X_REDUCTION == 2


def test_layers() -> None:
    assert LanguageTraining(layers="top-third").chosen_layers(12) == [8, 9, 10, 11]
    assert LanguageTraining(layers="top-third").chosen_layers(1) == [0]
    assert LanguageTraining(layers=[3, 5]).chosen_layers(12) == [3, 5]


@pytest.mark.parametrize(
    "wrong", [{"held_out": 0.5}, {"held_out": 0}, {"steps": 0}, {"seed": -1}, {"typo": 1}]
)
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LanguageTraining.model_validate(wrong)


RequestOf = Callable[..., Request]


def test_the_decoder_knows_every_token_of_the_text(encoder: FrozenEncoder, request_of: RequestOf) -> None:
    work = prepare(encoder, request_of())
    seen = {i for part in work.batches.values() for b in part.all() for i in b.targets.tolist()}
    assert max(seen) < len(work.rows) and work.rows == sorted(set(work.rows))
    assert isinstance(work.model.head, TiedHead) and not work.own_head
    assert sum(size["lines"] for size in work.sizes.values()) == 80


def test_reduction_and_layers(encoder: FrozenEncoder, request_of: RequestOf) -> None:
    model = prepare(encoder, request_of(reduction=4, layers=[1], invertible=False)).model
    assert model.adapter.indices == [1] and model.adapter.invertible is None and model.start == 1
    assert model.adapter.by_layer[1].shape.bottleneck == 4
    assert prepare(encoder, request_of()).model.start == 0
    assert LanguageTraining(layers="top-third").chosen_layers(12) == [8, 9, 10, 11]


def test_an_own_head_is_taken(encoder: FrozenEncoder, request_of: RequestOf) -> None:
    work = prepare(encoder, request_of(), torch.nn.Linear(16, 96))
    assert work.own_head and isinstance(work.model.head, OwnHead)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 65}, r"sequences of 65 tokens do not fit toy \(--set length\): use 3 to 64"),
        ({"layers": [2]}, "do not fit an encoder of 2 layers"),
        ({"layers": [1, 0]}, "do not fit an encoder of 2 layers"),
        ({"layers": []}, "do not fit an encoder of 2 layers"),
    ],
)
def test_settings_that_do_not_fit(
    encoder: FrozenEncoder, request_of: RequestOf, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        prepare(encoder, request_of(**changes))


def test_a_held_out_part_of_one_sequence_is_too_little(encoder: FrozenEncoder, request_of: RequestOf) -> None:
    with pytest.raises(
        UserError, match="too little text: a held-out part of 4 lines fills one sequence of 64"
    ):
        prepare(encoder, request_of(lines=40, length=64))


def test_the_identity_has_all_that_decides(encoder: FrozenEncoder, request_of: RequestOf) -> None:
    one = request_of().identity(encoder)
    assert one == request_of().identity(encoder)
    for other in (request_of(lines=84), request_of(seed=1), request_of(rate=0.5)):
        assert other.identity(encoder) != one
