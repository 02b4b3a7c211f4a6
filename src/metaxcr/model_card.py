"""The model card: what a saved model is, what it was trained on, and what it achieved.

The card of a language adapter: what it is, what it was trained on, and what it changed.

The model card of a model that was adapted to own examples.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metaxcr.config.schema import WITH_SHOTS, Config
from metaxcr.data.corpora import Corpus, corpus_ids, corpus_spec
from metaxcr.data.registry import task_spec
from metaxcr.data.spec import TaskSpec
from metaxcr.evaluation.results import read_results
from metaxcr.parse import dump_yaml
from metaxcr.records import read_environment

OPEN = "Apache-2.0"
EMBEDDED = "intfloat/multilingual-e5-small"  # what the embedded encoder was quantised from


def model_card(config: Config, folder: Path, languages: Sequence[str]) -> str:
    """Return the text of a model's README.md.

    The licence is Apache-2.0 where all training data are; otherwise it is left to the reader, with the
    licences of all data listed. Results are those of ``results.json``, with their intervals, and none are
    claimed without it.

    Args:
        config: The settings of the run.
        folder: Where ``results.json`` may be.
        languages: ISO 639-1 codes that the model knows.
    """
    trained = training_tasks(config)
    head = {
        "license": "apache-2.0" if all(spec.licence == OPEN for spec in trained) else "other",
        "language": list(languages),
        "library_name": "metaxcr",
        "pipeline_tag": "multiple-choice",
        "base_model": EMBEDDED if config.encoder.name == "embedded" else config.encoder.name,
        "tags": ["metaxcr", "commonsense", "cross-lingual", "adapters", "meta-learning"],
    }
    lines = [
        "---",
        dump_yaml(head).strip(),
        "---",
        "",
        f"# MetaXCR for {config.target.task}",
        "",
        f"Adapters for the frozen encoder `{config.encoder.name}`, meta-learned on English commonsense "
        "tasks with [MetaXCR](https://arxiv.org/abs/2503.06531).",
        "",
        *_example(config),
        *_leaks(config, folder),
        *_results(folder),
        *_training(config, folder),
        *data_table([*trained, *aligned_texts(config)]),
    ]
    return "\n".join(lines) + "\n"


def training_tasks(config: Config) -> list[TaskSpec]:
    """Tasks whose labels a run with these settings learns from."""
    target = config.target
    names = [source.task for source in config.sources] + [target.english.task]
    names += [target.auxiliary.task] if target.auxiliary and "zero-shot-aux" in config.run.regimes else []
    names += [target.task] if set(WITH_SHOTS) & set(config.run.regimes) else []
    return [task_spec(name) for name in dict.fromkeys(names)]


def aligned_texts(config: Config) -> list[TaskSpec | Corpus]:
    """What a run with these settings aligns languages on, without labels; empty if on nothing."""
    text = config.target.parallel
    if text is None or not (config.ctml.alignment or config.clml.alignment):
        return []
    return [corpus_spec(text.corpus) if text.corpus in corpus_ids() else task_spec(text.corpus)]


def _example(config: Config) -> list[str]:
    language = config.target.languages[0]
    return [
        "```python",
        "import metaxcr",
        "",
        'model = metaxcr.MetaXCR.from_pretrained("owner/name")  # this repository, or a folder',
        f'model.rank("...", ["...", "..."], question="effect", language="{language}")  # probabilities',
        "```",
        "",
    ]


def _results(folder: Path) -> list[str]:
    path = folder / "results.json"
    if not path.is_file():
        return ["## Results", "", "Not evaluated.", ""]
    results = read_results(path)
    table = [
        "| task | data | method | languages | accuracy, % | 95 % interval |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    first = sorted(results["averages"], key=lambda average: average["method"] != "similarity")  # the baseline
    table += [_table_row(average) for average in first]
    note = "Averages over languages and seeds; the saved adapters are those of the first seed."
    if _demonstration(results):
        note += " The starter set is machine-written and unreviewed: a demonstration, not a benchmark."
    return ["## Results", "", *table, "", note, ""]


def _leaks(config: Config, folder: Path) -> list[str]:
    """Warn of a model that was trained on what it was, or will be, tested on."""
    path = folder / "results.json"
    if not path.is_file():
        said = (
            "Leaks were allowed (`run.allow_leaks`) in this run, which was not evaluated: it may have been "
        )
        return ["## Leaks", "", said + "trained on test items.", ""] if config.run.allow_leaks else []
    leaks = read_results(path)["shares"].get("leaks")
    if not leaks:
        return []
    kinds = ", ".join(f"{kind} {count}" for kind, count in leaks["kinds"].items())
    said = f"Trained on {leaks['count']} development or test items ({kinds}): the results are no evidence."
    return ["## Leaks", "", f"**{said}**", "", *(f"- `{pair}`" for pair in leaks["pairs"]), ""]


def _demonstration(results: dict[str, Any]) -> bool:
    return any(average["task"].startswith("starter") for average in results["averages"])


def _table_row(average: dict[str, Any]) -> str:
    ends = average["ci95"]
    interval = f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} ({average['ci_kind']})" if ends else ""
    method = average["method"] if average["regime"] == "none" else f"{average['regime']}/{average['method']}"
    method += f", k = {average['k']}" if average["k"] else ""
    place = f"{average['task']} {average.get('split', 'test')}"
    cells = (
        place, average.get("data", "repaired"), method, " ".join(average["langs"]),
        f"{100 * average['mean']:.1f}", interval,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _training(config: Config, folder: Path) -> list[str]:
    """What was trained on what, how much of it, and by which command."""
    target, seeds = config.target, ", ".join(str(seed) for seed in config.run.seeds)
    sources = [*(source.task for source in config.sources), target.english.task]
    lines = [f"- English sources: {', '.join(sources)}"]
    if "zero-shot-aux" in config.run.regimes and target.auxiliary:
        languages = " ".join(target.auxiliary.languages)
        lines.append(f"- auxiliary languages with labels: {target.auxiliary.task} in {languages}")
    if target.parallel and (config.ctml.alignment or config.clml.alignment):
        text = target.parallel
        lines.append(
            f"- parallel text without labels: {text.corpus} {text.split}, {' '.join(text.languages)}"
        )
    lines.append(f"- shots: {_shots(config, folder)}; seeds {seeds}")
    shares = _results_of(folder).get("shares", {})
    if account := shares.get("parameters"):
        lines.append(
            f"- trained: {account['trained']:,} parameters, {account['share']:.2%} of the encoder's "
            f"{account['encoder']:,} ({account['share_without_embeddings']:.2%} without its embeddings)"
        )
    if stacks := shares.get("stack"):
        lines.append(f"- adapters, from below: {', '.join(sorted({' > '.join(s) for s in stacks.values()}))}")
    path = folder / "environment.json"
    origin = read_environment(path) if path.is_file() else {}
    if command := origin.get("command"):
        versions = ", ".join(f"{name} {origin[name]}" for name in ("metaxcr", "torch") if origin.get(name))
        lines.append(f"- command: `{command}` ({versions})")
    return ["## Training", "", *lines, ""]


def _shots(config: Config, folder: Path) -> str:
    rows = _results_of(folder).get("rows", [])
    found = sorted({row["k"] for row in rows if row["k"]})
    if found:
        return ", ".join(f"{k} a language" for k in found)
    return f"{config.target.k} a language" if "few-shot" in config.run.regimes else "none"


def _results_of(folder: Path) -> dict[str, Any]:
    path = folder / "results.json"
    return read_results(path) if path.is_file() else {}


def data_table(trained: Sequence[TaskSpec | Corpus]) -> list[str]:
    """Lines of a card's section on the data: licence and citation of each task."""
    rows = [f"| [{spec.id}]({spec.url}) | {spec.licence} | {spec.citation} |" for spec in trained]
    return ["## Training data and licences", "", "| task | licence | source |", "| --- | --- | --- |", *rows]


def language_adapter_card(
    result: dict[str, Any],
    *,
    language: str,
    sources: Sequence[dict[str, Any]],
    command: str,
    settings: dict[str, Any],
) -> str:
    """Return the text of a language adapter's README.md.

    Args:
        language: ISO 639 code.
        sources: {"name", "licence", "citation", "lines"} of each file or corpus.
        command: That makes the adapter again.
        settings: Of the training (:class:`metaxcr.mlm.preparation.LanguageTraining`).
        result: From :func:`metaxcr.mlm.adapter_training.training_result`.
    """
    sizes, layers = result["sizes"], settings["layers"]
    head = {
        "license": "other",
        "language": [language],
        "library_name": "metaxcr",
        "tags": ["metaxcr", "adapters", "masked-language-modelling"],
    }
    shown = layers if isinstance(layers, str) else ", ".join(map(str, layers))
    invertible = (
        "with an invertible part on the embeddings" if settings["invertible"] else "no invertible part"
    )
    parts = [
        "---\n" + dump_yaml(head) + "---",
        f"# Language adapter: {language}",
        f"For the frozen encoder `{result['encoder']}` (layers: {shown}; "
        f"reduction {settings['reduction']:g}; {invertible}; {result['parameters']:,} parameters), "
        "trained by masked-language modelling of whole words.",
        "Use it in a configuration:",
        f"```yaml\nadapters:\n  language: {{{language}: DIR}}\n```",
        f"Made by:\n\n```sh\n{command}\n```",
        "## Text",
        _table(
            ("text", "lines", "licence", "citation"),
            [(s["name"], s["lines"], s["licence"], s["citation"]) for s in sources],
        ),
        f"{sizes['train']['lines']} lines ({sizes['train']['tokens']:,} tokens) were trained on, "
        f"{sizes['stop']['lines']} decided when to stop, and {sizes['test']['lines']} decided nothing: the "
        f"losses are theirs ({result['targets']:,} masked tokens, fixed masks, seed {result['seed']}).",
        "## Held-out loss",
        _table(
            ("", "loss, nats a token", "perplexity", "best step"),
            [
                (r["what"], f"{r['loss']:.3f}", f"{r['perplexity']:.1f}", r.get("best_step", ""))
                for r in result["losses"]
            ],
        ),
        _gain(result),
        f"The decoder knows the {result['vocabulary']:,} tokens of this text, so these losses are comparable "
        "among themselves only.",
    ]
    return "\n\n".join(parts) + "\n"


def _gain(result: dict[str, Any]) -> str:
    gain = result["gain"]
    p = f"= {gain['p']:.2g}" if gain["p"] >= 1e-4 else "< 0.0001"
    return (
        f"The adapter's own gain over {gain['over']}: {gain['mean']:.3f} nats "
        f"[{gain['low']:.3f}, {gain['high']:.3f}] (95 %, paired over held-out sequences, p {p})."
    )


def _table(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def adapted_model_card(account: dict[str, Any], config: Config, threshold: str) -> str:
    """Return the text of the model's README.md.

    Args:
        account: From :func:`metaxcr.fewshot.summary.adaptation_summary`.
        config: The settings that the start was trained with.
        threshold: A sentence on the confidence above which an answer can be relied on.
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
    rows = [_account_row(system["name"], system) for system in account["systems"]]
    rows += [_account_row(name, found, sign="+") for name, found in account["differences"].items()]
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
        threshold,
        "",
        "The examples themselves are not part of this folder, but for those that its report and "
        "adaptation.json name as doubtful.",
        "",
        *data_table([*training_tasks(config), *aligned_texts(config)]),
    ]
    return "\n".join(lines) + "\n"


def _account_row(name: str, found: dict[str, Any], sign: str = "") -> str:
    low, high = found["ci95"]
    return f"| {name} | {100 * found['mean']:{sign}.1f} | {100 * low:{sign}.1f} to {100 * high:{sign}.1f} |"
