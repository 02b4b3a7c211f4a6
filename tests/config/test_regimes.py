"""The regimes: those of the settings are those of the table."""

from typing import get_args

from metaxcr.config.regimes import REGIMES, SEVERAL_LANGUAGES, WITH_SHOTS, RegimeName


def test_every_regime_of_the_settings_is_described() -> None:
    assert ("none", *get_args(RegimeName)) == tuple(REGIMES)
    assert WITH_SHOTS == ("few-shot", "pooled-shots")
    assert SEVERAL_LANGUAGES == ("zero-shot-aux", "pooled-shots")
    assert all(REGIMES[name].stages for name in get_args(RegimeName))
