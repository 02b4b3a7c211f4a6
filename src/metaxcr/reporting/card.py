"""The model card: what a saved model is, what it was trained on, and what it achieved."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metaxcr.config import WITH_SHOTS, Config
from metaxcr.parse import dump_yaml
from metaxcr.run_files import read_environment, read_results
from metaxcr.tasks.registry import task_spec
from metaxcr.tasks.spec import TaskSpec
from metaxcr.tasks.text import Corpus, corpus, corpus_ids

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
    return [corpus(text.corpus) if text.corpus in corpus_ids() else task_spec(text.corpus)]


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
    table += [_row(average) for average in first]
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


def _row(average: dict[str, Any]) -> str:
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
