"""Model cards: README.md of a trained model, of an adapted model, and of a language adapter."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metaxcr.config.regimes import WITH_SHOTS
from metaxcr.config.schema import Config
from metaxcr.data.corpora import corpus_ids, corpus_spec
from metaxcr.data.registry import task_spec
from metaxcr.data.spec import Corpus, TaskSpec
from metaxcr.evaluation.results import read_results
from metaxcr.parse import dump_yaml
from metaxcr.records import read_environment

OPEN = "Apache-2.0"
EMBEDDED = "intfloat/multilingual-e5-small"  # the encoder that the embedded one was quantised from


def model_card(config: Config, folder: Path, languages: Sequence[str]) -> str:
    """Return the card of a trained model in ``folder``.

    The licence is Apache-2.0 if all training data are; otherwise "other", with all licences listed. Results
    are those of ``results.json``, with their intervals.
    """
    results_path = folder / "results.json"
    results = read_results(results_path) if results_path.is_file() else None
    open_data = all(spec.licence == OPEN for spec in training_tasks(config))
    return _card(
        _head(config, "apache-2.0" if open_data else "other", languages, "meta-learning"),
        f"# MetaXCR for {config.target.task}",
        f"Adapters for the frozen encoder `{config.encoder.name}`, meta-learned on English commonsense "
        "tasks with [MetaXCR](https://arxiv.org/abs/2503.06531).",
        _usage(config.target.languages[0], "  # probabilities"),
        *_leaks(config, results),
        *_results(results),
        "## Training",
        "\n".join(_training(config, folder, results or {})),
        *_data_section(config),
    )


def adapted_model_card(summary: dict[str, Any], config: Config, threshold: str) -> str:
    """Return the card of a model that was adapted to a user's examples.

    ``summary`` is from :func:`metaxcr.fewshot.summary.adaptation_summary`, ``config`` that of the
    meta-adapter, ``threshold`` a sentence on the probability above which an answer is reliable.
    """
    found = [(s["name"], s, "") for s in summary["systems"]]
    found += [(name, difference, "+") for name, difference in summary["differences"].items()]
    rows = [(name, f"{100 * row['mean']:{sign}.1f}", _ends(row, sign)) for name, row, sign in found]
    return _card(
        _head(config, "other", [summary["language"]], "few-shot"),
        f"# MetaXCR, adapted to {summary['examples']} own examples ({summary['language']})",
        f"Adapters for the frozen encoder `{config.encoder.name}`: a meta-adapter, learned on English "
        f"commonsense tasks with [MetaXCR](https://arxiv.org/abs/2503.06531); the {summary['kept']} one is "
        "used.",
        _usage(summary["language"]),
        "## Results of adapting",
        summary["sentence"],
        _table(("cross-validated", "accuracy, %", "95 % interval"), rows),
        f"The rule, fixed in advance: {summary['rule']}.",
        threshold,
        "The examples are not part of this folder, except those that its report and adaptation.json list as "
        "doubtful.",
        *_data_section(config),
    )


def language_adapter_card(
    result: dict[str, Any],
    *,
    language: str,
    sources: Sequence[dict[str, Any]],
    command: str,
    settings: dict[str, Any],
) -> str:
    """Return the card of a language adapter.

    ``sources`` are {"name", "licence", "citation", "lines"} of each file or corpus, ``settings`` those of the
    training, ``result`` is from :func:`metaxcr.mlm.train_adapter.training_result`.
    """
    sizes, layers, gain = result["sizes"], settings["layers"], result["gain"]
    tags = ["metaxcr", "adapters", "masked-language-modelling"]
    shown = layers if isinstance(layers, str) else ", ".join(map(str, layers))
    invertible = (
        "with an invertible part on the embeddings" if settings["invertible"] else "no invertible part"
    )
    p = f"= {gain['p']:.2g}" if gain["p"] >= 1e-4 else "< 0.0001"
    losses = [
        (r["what"], f"{r['loss']:.3f}", f"{r['perplexity']:.1f}", r.get("best_step", ""))
        for r in result["losses"]
    ]
    return _card(
        {"license": "other", "language": [language], "library_name": "metaxcr", "tags": tags},
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
        f"{sizes['train']['lines']} lines ({sizes['train']['tokens']:,} tokens) for training, "
        f"{sizes['stop']['lines']} for early stopping, and {sizes['test']['lines']} for the losses below "
        f"({result['targets']:,} masked tokens, fixed masks, seed {result['seed']}).",
        "## Held-out loss",
        _table(("", "loss, nats a token", "perplexity", "best step"), losses),
        f"The adapter's own gain over {gain['over']}: {gain['mean']:.3f} nats "
        f"[{gain['low']:.3f}, {gain['high']:.3f}] (95 %, paired over held-out sequences, p {p}).",
        f"The decoder knows the {result['vocabulary']:,} tokens of this text, so these losses are comparable "
        "among themselves only.",
    )


def training_tasks(config: Config) -> list[TaskSpec]:
    """Tasks whose labels a run with these settings learns from."""
    target = config.target
    names = [source.task for source in config.sources] + [target.english.task]
    names += [target.auxiliary.task] if target.auxiliary and "zero-shot-aux" in config.run.regimes else []
    names += [target.task] if set(WITH_SHOTS) & set(config.run.regimes) else []
    return [task_spec(name) for name in dict.fromkeys(names)]


def aligned_texts(config: Config) -> list[TaskSpec | Corpus]:
    """Parallel text, without labels, on which a run with these settings aligns languages."""
    text = config.target.parallel
    if text is None or not (config.ctml.alignment or config.clml.alignment):
        return []
    return [corpus_spec(text.corpus) if text.corpus in corpus_ids() else task_spec(text.corpus)]


def _card(head: dict[str, Any], *parts: str) -> str:
    """Front matter and paragraphs."""
    return "\n\n".join([f"---\n{dump_yaml(head)}---", *parts]) + "\n"


def _head(config: Config, licence: str, languages: Sequence[str], tag: str) -> dict[str, Any]:
    encoder = config.encoder.name
    return {
        "license": licence,
        "language": list(languages),
        "library_name": "metaxcr",
        "pipeline_tag": "multiple-choice",
        "base_model": EMBEDDED if encoder == "embedded" else encoder,
        "tags": ["metaxcr", "commonsense", "cross-lingual", "adapters", tag],
    }


def _usage(language: str, comment: str = "") -> str:
    return (
        "```python\nimport metaxcr\n\n"
        'model = metaxcr.MetaXCR.from_pretrained("owner/name")  # this repository, or a folder\n'
        f'model.rank("...", ["...", "..."], question="effect", language="{language}"){comment}\n```'
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _ends(found: dict[str, Any], sign: str = "") -> str:
    """The 95 % interval in percent, or nothing."""
    return " to ".join(f"{100 * end:{sign}.1f}" for end in found["ci95"] or ())


def _data_section(config: Config) -> list[str]:
    """Licence and citation of everything that was trained on."""
    specs = [*training_tasks(config), *aligned_texts(config)]
    rows = [(f"[{spec.id}]({spec.url})", spec.licence, spec.citation) for spec in specs]
    return ["## Training data and licences", _table(("task", "licence", "source"), rows)]


def _leaks(config: Config, results: dict[str, Any] | None) -> list[str]:
    """A warning about a model that was, or may have been, trained on test items."""
    if results is None and config.run.allow_leaks:
        return [
            "## Leaks",
            "Leaks were allowed (`run.allow_leaks`) in this run, which was not evaluated: it may have been "
            "trained on test items.",
        ]
    leaks = results and results["shares"].get("leaks")
    if not leaks:
        return []
    kinds = ", ".join(f"{kind} {count}" for kind, count in leaks["kinds"].items())
    warning = f"Trained on {leaks['count']} development or test items ({kinds}): the results are no evidence."
    return ["## Leaks", f"**{warning}**", "\n".join(f"- `{pair}`" for pair in leaks["pairs"])]


def _results(results: dict[str, Any] | None) -> list[str]:
    if results is None:
        return ["## Results", "Not evaluated."]
    averages = sorted(results["averages"], key=lambda average: average["method"] != "similarity")
    note = "Averages over languages and seeds; the saved adapters are those of the first seed."
    if any(average["task"].startswith("starter") for average in averages):
        note += " The starter set is machine-written and unreviewed: a demonstration, not a benchmark."
    heads = ("task", "data", "method", "languages", "accuracy, %", "95 % interval")
    return ["## Results", _table(heads, [_average_row(average) for average in averages]), note]


def _average_row(average: dict[str, Any]) -> tuple[str, ...]:
    method = average["method"] if average["regime"] == "none" else f"{average['regime']}/{average['method']}"
    return (
        f"{average['task']} {average.get('split', 'test')}",
        average.get("data", "repaired"),
        method + (f", k = {average['k']}" if average["k"] else ""),
        " ".join(average["langs"]),
        f"{100 * average['mean']:.1f}",
        f"{_ends(average)} ({average['ci_kind']})" if average["ci95"] else "",
    )


def _training(config: Config, folder: Path, results: dict[str, Any]) -> list[str]:
    """Data, shots, seeds, number of trained parameters, and the command."""
    target, seeds = config.target, ", ".join(str(seed) for seed in config.run.seeds)
    sources = [*(source.task for source in config.sources), target.english.task]
    lines = [f"- English sources: {', '.join(sources)}"]
    if "zero-shot-aux" in config.run.regimes and target.auxiliary:
        languages = " ".join(target.auxiliary.languages)
        lines.append(f"- auxiliary languages with labels: {target.auxiliary.task} in {languages}")
    if (text := target.parallel) and (config.ctml.alignment or config.clml.alignment):
        languages = " ".join(text.languages)
        lines.append(f"- parallel text without labels: {text.corpus} {text.split}, {languages}")
    lines.append(f"- shots: {_shots(config, results)}; seeds {seeds}")
    shares = results.get("shares", {})
    if count := shares.get("parameters"):
        lines.append(
            f"- trained: {count['trained']:,} parameters, {count['share']:.2%} of the encoder's "
            f"{count['encoder']:,} ({count['share_without_embeddings']:.2%} without its embeddings)"
        )
    if stacks := shares.get("stack"):
        lines.append(f"- adapters, from below: {', '.join(sorted({' > '.join(s) for s in stacks.values()}))}")
    path = folder / "environment.json"
    environment = read_environment(path) if path.is_file() else {}
    if command := environment.get("command"):
        known = [name for name in ("metaxcr", "torch") if environment.get(name)]
        versions = ", ".join(f"{name} {environment[name]}" for name in known)
        lines.append(f"- command: `{command}` ({versions})")
    return lines


def _shots(config: Config, results: dict[str, Any]) -> str:
    found = sorted({row["k"] for row in results.get("rows", []) if row["k"]})
    if found:
        return ", ".join(f"{k} a language" for k in found)
    return f"{config.target.k} a language" if "few-shot" in config.run.regimes else "none"
