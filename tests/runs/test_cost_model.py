"""The trunk's share of the cost model; the rest is tested against real runs in test_replay."""

import pytest
from tests.runs.test_replay import REWARD, amounts, settings

from metaxcr.runs.cost_model import StageWork, trunk_tokens
from metaxcr.runs.data_amounts import Amounts
from metaxcr.runs.replay import Draws


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
