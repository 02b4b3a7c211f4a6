"""The model card of a model that was adapted to own examples."""

from typing import Any

from metaxcr.config import Config
from metaxcr.fewshot.words import threshold_words
from metaxcr.parse import dump_yaml
from metaxcr.reporting.card import EMBEDDED, aligned_texts, data_table, training_tasks


def card(account: dict[str, Any], config: Config) -> str:
    """Return the text of the model's README.md.

    Args:
        account: From :func:`metaxcr.fewshot.account.account_of`.
        config: The settings that the start was trained with.
    """
    encoder = config.encoder.name
    head = {
        "license": "other",
        "language": [account["language"]],
        "library_name": "metaxcr",
        "pipeline_tag": "multiple-choice",
        "base_model": EMBEDDED if encoder == "embedded" else encoder,
        "tags": ["metaxcr", "commonsense", "cross-lingual", "adapters", "few-shot"],
    }
    rows = [_row(system["name"], system) for system in account["systems"]]
    rows += [_row(name, found, sign="+") for name, found in account["differences"].items()]
    lines = [
        "---",
        dump_yaml(head).strip(),
        "---",
        "",
        f"# MetaXCR, adapted to {account['examples']} own examples ({account['language']})",
        "",
        f"Adapters for the frozen encoder `{encoder}`: a meta-adapter, learned on English commonsense tasks "
        f"with [MetaXCR](https://arxiv.org/abs/2503.06531); the {account['kept']} one is used.",
        "",
        "```python",
        "import metaxcr",
        "",
        'model = metaxcr.MetaXCR.from_pretrained("owner/name")  # this repository, or a folder',
        f'model.rank("...", ["...", "..."], question="effect", language="{account["language"]}")',
        "```",
        "",
        "## What adapting gave",
        "",
        account["sentence"],
        "",
        "| cross-validated | accuracy, % | 95 % interval |",
        "| --- | --- | --- |",
        *rows,
        "",
        f"The rule, fixed in advance: {account['rule']}.",
        "",
        threshold_words(account),
        "",
        "The examples themselves are not part of this folder, but for those that its report and "
        "adaptation.json name as doubtful.",
        "",
        *data_table([*training_tasks(config), *aligned_texts(config)]),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, found: dict[str, Any], sign: str = "") -> str:
    low, high = found["ci95"]
    return f"| {name} | {100 * found['mean']:{sign}.1f} | {100 * low:{sign}.1f} to {100 * high:{sign}.1f} |"
