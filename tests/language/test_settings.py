"""Settings of a training."""

import pytest
from pydantic import ValidationError

from metaxcr.adapters.language import MAD_X_REDUCTION
from metaxcr.language.settings import LanguageTraining


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
