"""``evaluate`` and ``predict``: score a trained model on a task, and answer a user's questions with it."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from metaxcr.cli import options
from metaxcr.cli.console import note, print_json, print_table, progress, say
from metaxcr.cli.options import Place, Text, argument, option
from metaxcr.cli.run import carry_out, folder_settings, show_results
from metaxcr.errors import UserError
from metaxcr.printable import printable_json

if TYPE_CHECKING:
    from metaxcr.api import MetaXCR
    from metaxcr.config.schema import Config
    from metaxcr.data.example import Example
    from metaxcr.data.registry import LoadedSplit

CHUNK = 512  # questions that are encoded together


@options.examples(
    "metaxcr evaluate runs/mine", "metaxcr evaluate runs/mine --task xstorycloze --language sw --split test"
)
def evaluate(
    folder: options.RunFolder,
    task: Annotated[Text, option("--task", "Any labelled task.", "ID")] = None,
    language: Annotated[Text, option("--language", "With --task.", "CODE")] = None,
    split: Annotated[Text, option("--split", "With --task.", "NAME", "test")] = None,
    language_adapter: options.LanguageAdapter = "own",
    device: options.Device = "auto",
    data: options.Data = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
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
        found = _score(model, loaded, _acting(language_adapter))
        found["trained_on"] = (task, loaded.split) in _trained_on(settings)
        _show_scores(found, as_json=as_json)
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
        fix = f"name one of {', '.join(spec.languages)}"
        raise UserError(f"{task} has several languages", "--language", fix)
    loaded = load(task, split or "test", language=language or spec.languages[0], root=data)
    if any(example.label is None for example in loaded.examples):
        labelled = ", ".join(name for name, declared in spec.splits.items() if declared.labelled)
        raise UserError(f"{task} {loaded.split} has no labels", "--split", f"these have: {labelled}")
    return loaded


def _acting(language_adapter: str) -> str | None:
    """The value of --language-adapter in the form that :meth:`metaxcr.MetaXCR.rank` accepts."""
    return None if language_adapter == "none" else language_adapter


def _score(model: "MetaXCR", loaded: "LoadedSplit", acting: str | None) -> dict[str, Any]:
    """Accuracy of the untrained similarity and of the model, and their difference, with intervals."""
    import numpy as np

    from metaxcr.evaluation.statistics import crossed_interval, paired_difference

    stack = model.stack(loaded.language, acting)
    note(f"stack: {' > '.join(stack)}")
    untrained, trained = (
        np.array(_correct(loaded, model.score(loaded, untrained=untrained, language_adapter=acting)))
        for untrained in (True, False)
    )
    rows = []
    for method, scores in (
        ("similarity", untrained),
        (model.adapter(loaded.language, unseen=True), trained),
    ):
        found = crossed_interval(scores)
        ends = [round(max(0.0, found.low), 6), round(min(1.0, found.high), 6)]
        rows.append({"method": method, "acc": round(found.mean, 6), "ci95": ends})
    gap = paired_difference(trained, untrained)
    ends = [round(gap.low, 6), round(gap.high, 6)]
    return {
        "task": loaded.spec.id,
        "language": loaded.language,
        "split": loaded.split,
        "n": len(loaded.examples),
        "repaired": loaded.repaired,
        "rows": rows,
        "difference": {"mean": round(gap.mean, 6), "ci95": ends, "p": round(gap.p, 6)},
        "stack": stack,
    }


def _correct(loaded: "LoadedSplit", probabilities: list[list[float]]) -> list[float]:
    """1 for every right answer; if labels name the implausible choice, the least plausible one counts."""
    best = min if loaded.spec.polarity == "implausible" else max
    return [
        float(row.index(best(row)) == e.label) for row, e in zip(probabilities, loaded.examples, strict=True)
    ]


def _trained_on(settings: "Config") -> set[tuple[str, str]]:
    """The (task, split) pairs whose labels a run learns from."""
    target = settings.target
    pairs = {(source.task, source.split) for source in settings.sources}
    pairs.add((target.english.task, target.english.split))
    if target.shots_split:
        pairs.add((target.task, target.shots_split))
    return pairs | ({(target.auxiliary.task, target.auxiliary.split)} if target.auxiliary else set())


def _show_scores(found: dict[str, Any], *, as_json: bool) -> None:
    if found["trained_on"]:
        note(f"note: the model may have learned from {found['task']} {found['split']}; this is no test")
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


@options.examples(
    """echo '{"premise": "El vaso cayó al suelo.", "question": "effect",
      "choices": ["Se rompió.", "Se llenó."]}' | paste -s -d ' ' > questions.jsonl""",
    "metaxcr predict runs/starter questions.jsonl --language es",
    "metaxcr predict models/mine questions.csv --language sw --abstain 0.8 --out answers.jsonl",
)
def predict(
    folder: options.RunFolder,
    file: Annotated[Path, argument("FILE", "CSV, TSV, JSON, JSON lines or Parquet with questions.")],
    language: Annotated[str, option("--language", "Of the texts (ISO 639-1).", "CODE")],
    mapping: options.Map = None,
    relation: options.Relation = None,
    columns: options.Columns = None,
    where: options.Where = None,
    split: options.Part = None,
    skip_bad: options.SkipBad = False,
    out: Annotated[Place, option("--out", "File to write.", "FILE", "standard output")] = None,
    abstain: Annotated[
        float | None,
        option("--abstain", "Withhold answers less probable than this.", "P", min=0, max=1),
    ] = None,
    explain: Annotated[int, option("--explain", "Add the K nearest source examples.", "K", min=0)] = 0,
    language_adapter: options.LanguageAdapter = "own",
    device: options.Device = "auto",
    data: options.Data = None,
    quiet: options.Quiet = False,
) -> None:
    """Rank the choices of your own questions; no labels needed.

    A line has 'premise' (or 'context'), perhaps 'question' (cause, effect, or a question in words), 'choices'
    (a list) or 'choice1', 'choice2', ..., and perhaps 'id'. Other names are understood as in 'metaxcr tasks
    add', or given with --map.

    An answer has id, probabilities, choice (the index of the most probable one, counted from 0, or null if
    --abstain withholds it) and calibrated (whether 'adapt' calibrated the probabilities in this language).
    With --explain it also has 'nearest': the source examples nearest to the decision, with their texts if the
    data sets are available. The whole file is checked before the first answer; memory does not grow with it.
    """
    from metaxcr.data.infer.user_questions import read_questions
    from metaxcr.files import atomic_writer

    hints = options.column_hints(mapping, None, relation, columns, where, skip_bad)
    total = sum(
        1 for _ in read_questions(file, language, hints, split, lambda line: note(f"warning: {line}"))
    )

    from metaxcr.api import MetaXCR

    withheld = done = 0
    with progress(quiet) as shown, nullcontext(sys.stdout) if out is None else atomic_writer(out) as stream:
        model, adapter = MetaXCR.from_pretrained(folder, device=device), _acting(language_adapter)
        note(model.machine)
        note(f"stack: {' > '.join(model.stack(language, adapter))}")
        if abstain is not None and model.unreliable(language):
            what = f"this model's probabilities in {language!r} are not reliable, see adaptation.json"
            raise UserError(what, str(folder), "leave out --abstain, or adapt to more examples")
        for chunk in _chunks(read_questions(file, language, hints, split)):
            for answer in _answers(model, chunk, adapter, abstain, explain, data):
                withheld += answer["choice"] is None
                stream.write(printable_json(json.dumps(answer, ensure_ascii=False)) + "\n")
            done += len(chunk)
            shown.update("answering", done, total)
    if abstain is not None:
        note(f"withheld: {withheld} of {total}")
    if out is not None:
        note(f"{total} answers: {out}")


def _chunks(questions: "Iterator[Example]") -> "Iterator[list[Example]]":
    while chunk := list(islice(questions, CHUNK)):
        yield chunk


def _answers(
    model: "MetaXCR",
    questions: "Sequence[Example]",
    adapter: str | None,
    abstain: float | None,
    explain: int,
    data: Path | None,
) -> list[dict[str, Any]]:
    ranked = model.rank_many(questions, language_adapter=adapter)
    chosen = [probabilities.index(max(probabilities)) for probabilities in ranked]
    answers: list[dict[str, Any]] = [
        {
            "id": question.id,
            "probabilities": [round(p, 6) for p in probabilities],
            "choice": best if abstain is None or probabilities[best] >= abstain else None,
            "calibrated": model.calibrated(question.language),
        }
        for question, probabilities, best in zip(questions, ranked, chosen, strict=True)
    ]
    if explain:
        nearest = model.nearest(questions, chosen, k=explain, root=data)
        for answer, neighbours in zip(answers, nearest, strict=True):
            answer["nearest"] = [asdict(neighbour) for neighbour in neighbours]
    return answers
