"""The command ``evaluate``: finish the evaluation of a run, or score a model on any labelled task."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli.console import note, print_json, print_table, say
from metaxcr.cli.options import DataOption, DeviceOption, FolderArgument, JsonOption, QuietOption, examples
from metaxcr.cli.run import carry_out, folder_settings, show_results
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.api import MetaXCR
    from metaxcr.config.schema import Config
    from metaxcr.data.registry import LoadedSplit

AdapterOption = Annotated[
    str,
    typer.Option(
        "--language-adapter",
        metavar="CODE",
        help="Language of the active language adapter: own (the texts'), none, or any that the model has.",
    ),
]


@examples(
    "metaxcr evaluate runs/mine", "metaxcr evaluate runs/mine --task xstorycloze --language sw --split test"
)
def evaluate(
    folder: FolderArgument,
    task: Annotated[str | None, typer.Option("--task", metavar="ID", help="Any labelled task.")] = None,
    language: Annotated[str | None, typer.Option("--language", metavar="CODE", help="With --task.")] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="With --task.", show_default="test")
    ] = None,
    language_adapter: AdapterOption = "own",
    device: DeviceOption = "auto",
    data: DataOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Finish a folder's evaluation, or score any labelled task.

    Without --task: does what is missing of the run and prints its table. With --task: prints accuracy with
    its 95 % interval, beside the untrained similarity.
    """
    settings = folder_settings(folder)
    if task is not None:
        from metaxcr.api import MetaXCR

        loaded = _load(task, language, split, data)
        model = MetaXCR.from_pretrained(folder, device=device)
        _evaluate_task(settings, model, loaded, acting_adapter(language_adapter), as_json=as_json)
        return
    if language or split or language_adapter != "own" or device != "auto":
        raise UserError(
            "--language, --split, --language-adapter and --device belong to --task", None, "add --task ID"
        )
    carry_out(settings, folder, data=data, resume=True, quiet=quiet)
    show_results(folder, as_json=as_json)


def _load(task: str, language: str | None, split: str | None, data: Path | None) -> "LoadedSplit":
    from metaxcr.data.registry import load, task_spec

    spec = task_spec(task)
    if language is None and len(spec.languages) > 1:
        raise UserError(
            f"{task} has several languages", "--language", f"name one of {', '.join(spec.languages)}"
        )
    loaded = load(task, split or "test", language=language or spec.languages[0], root=data)
    if any(example.label is None for example in loaded.examples):
        labelled = ", ".join(name for name, declared in spec.splits.items() if declared.labelled)
        raise UserError(f"{task} {loaded.split} has no labels", "--split", f"these have: {labelled}")
    return loaded


def acting_adapter(name: str) -> str | None:
    """The value of --language-adapter in the form that :meth:`metaxcr.MetaXCR.rank` accepts."""
    return None if name == "none" else name


def _evaluate_task(
    settings: "Config", model: "MetaXCR", loaded: "LoadedSplit", acting: str | None, *, as_json: bool
) -> None:
    adapter, stack = model.adapter(loaded.language, unseen=True), model.stack(loaded.language, acting)
    note(f"stack: {' > '.join(stack)}")
    trained, untrained = (
        _correct(loaded, model.score(loaded, untrained=untrained, language_adapter=acting))
        for untrained in (False, True)
    )
    found = _summary(loaded, adapter, trained, untrained) | {"stack": stack}
    found["trained_on"] = (loaded.spec.id, loaded.split) in _trained_on(settings)
    if found["trained_on"]:
        note(f"note: the model may have learned from {loaded.spec.id} {loaded.split}; this is no test")
    if as_json:
        print_json(found)
        return
    from metaxcr.reports.tables import interval

    title = f"{found['task']}, {found['split']}, {found['language']}: {found['n']} items"
    rows = [(row["method"], f"{100 * row['acc']:.1f}", interval(row["ci95"])) for row in found["rows"]]
    difference = found["difference"]
    rows.append(("difference", f"{100 * difference['mean']:+.1f}", interval(difference["ci95"], "+")))
    print_table(("method", ">accuracy, %", "95 % interval over items"), rows, title=title)
    if found["repaired"]:
        say(f"{found['repaired']} question fields were repaired")


def _correct(loaded: "LoadedSplit", probabilities: list[list[float]]) -> list[float]:
    """1 for every right answer; if labels name the implausible choice, the least plausible one counts."""
    best = min if loaded.spec.polarity == "implausible" else max
    return [
        float(row.index(best(row)) == e.label) for row, e in zip(probabilities, loaded.examples, strict=True)
    ]


def _summary(
    loaded: "LoadedSplit", adapter: str, trained: list[float], untrained: list[float]
) -> dict[str, Any]:
    import numpy as np

    from metaxcr.evaluation.statistics import crossed_interval, paired_difference

    rows = []
    for method, scores in (("similarity", untrained), (adapter, trained)):
        interval = crossed_interval(np.array(scores))
        ends = [max(0.0, interval.low), min(1.0, interval.high)]
        rows.append(
            {"method": method, "acc": round(interval.mean, 6), "ci95": [round(end, 6) for end in ends]}
        )
    gap = paired_difference(np.array(trained), np.array(untrained))
    return {
        "task": loaded.spec.id,
        "language": loaded.language,
        "split": loaded.split,
        "n": len(loaded.examples),
        "repaired": loaded.repaired,
        "rows": rows,
        "difference": {
            "mean": round(gap.mean, 6),
            "ci95": [round(gap.low, 6), round(gap.high, 6)],
            "p": round(gap.p, 6),
        },
    }


def _trained_on(settings: "Config") -> set[tuple[str, str]]:
    target = settings.target
    pairs = {(source.task, source.split) for source in settings.sources}
    pairs.add((target.english.task, target.english.split))
    if target.shots_split:
        pairs.add((target.task, target.shots_split))
    return pairs | ({(target.auxiliary.task, target.auxiliary.split)} if target.auxiliary else set())
