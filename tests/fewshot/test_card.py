"""The model card of an adapted model."""

import yaml

from metaxcr.fewshot.account import Account
from metaxcr.fewshot.adapt import Start
from metaxcr.fewshot.card import card


def test_it_tells_what_adapting_gave_and_what_was_learned_from(account: Account, start: Start) -> None:
    text = card(account, start.config)
    head = yaml.safe_load(text.split("---")[1])
    assert head["language"] == ["sw"] and head["library_name"] == "metaxcr"
    assert account["sentence"] in text and account["rule"] in text
    for system in account["systems"]:
        assert f"| {system['name']} | {100 * system['mean']:.1f} |" in text
    assert "[starter_social]" in text and "Apache-2.0" in text
