"""``run``, ``train``, ``report``, ``diagnose`` and ``export``: carry out runs, look at them, publish them."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from metaxcr.cli import options
from metaxcr.cli.console import (
    command_line,
    console,
    note,
    print_json,
    print_table,
    progress,
    say,
    try_report,
)
from metaxcr.cli.options import Place, Text, Texts, argument, examples, option, project_settings
from metaxcr.errors import UserError
from metaxcr.printable import printable_json

if TYPE_CHECKING:
    from metaxcr.config.schema import Config

Out = Annotated[Place, option("--out", "The run folder.", "DIR", "runs/<name of CONFIG>")]
Resume = Annotated[
    bool, option("--resume", "Continue the folder where it stopped; start it if it is not there.")
]
AllowLeaks = Annotated[
    bool, option("--allow-leaks", "Continue if training data hold test items; the results say so.")
]


@examples(
    "metaxcr run starter",
    "metaxcr run starter --set 'run.seeds=[0]' --set 'target.languages=[es,sw]'",
    "metaxcr run configs/xcopa-embedded.yaml --data DIR --out runs/xcopa --resume",
    "metaxcr run starter --shots runs/other",
)
def run(
    config: options.ConfigName,
    overrides: options.Set = None,
    out: Out = None,
    resume: Resume = False,
    shots: options.Shots = None,
    allow_leaks: AllowLeaks = False,
    data: options.Data = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Do everything: train, adapt, evaluate, report.

    Meta-trains on the English sources, adapts to every target language, evaluates every regime beside the
    untrained similarity, and writes results.json and report.html into the run folder. Stopped or killed, the
    same command with --resume continues and gives the same results.
    """
    settings, folder = _settings(config, overrides, out, shots, allow_leaks)
    carry_out(settings, folder, data=data, resume=resume, quiet=quiet)
    show_results(folder, as_json=as_json)


@examples("metaxcr train starter --out runs/mine")
def train(
    config: options.ConfigName,
    overrides: options.Set = None,
    out: Out = None,
    resume: Resume = False,
    shots: options.Shots = None,
    allow_leaks: AllowLeaks = False,
    data: options.Data = None,
    quiet: options.Quiet = False,
) -> None:
    """Meta-train on the English sources only.

    The first part of 'metaxcr run': CTML, once per seed. The folder then has adapters/meta, which
    'metaxcr predict' can use in any of the target languages.
    """
    settings, folder = _settings(config, overrides, out, shots, allow_leaks)
    carry_out(settings, folder, data=data, resume=resume, quiet=quiet, phases=("train",))
    say(f"trained: {folder / 'adapters' / 'meta'}")
    say(f"next: metaxcr adapt {folder}")


def _settings(
    config: str, overrides: Texts, out: Path | None, shots: Path | None, allow_leaks: bool
) -> tuple["Config", Path]:
    """Return the settings, options included, and the run folder."""
    from metaxcr.config.io import find, load_config

    words = list(overrides or ())
    if shots is not None:
        # absolute, because later commands read it from the folder's config.yaml, wherever they are called
        words.append(f"target.shots_file={json.dumps(str(shots.absolute()))}")
    if allow_leaks:
        words.append("run.allow_leaks=true")
    return load_config(config, words), out or Path("runs") / find(config).stem


def folder_settings(folder: Path) -> "Config":
    """Return the settings of a run folder, or raise UserError if it is none."""
    from metaxcr.config.io import load_config
    from metaxcr.config.schema import accept_old_names

    path = folder / "config.yaml"
    if not path.is_file():
        raise UserError(
            "not a run folder: there is no config.yaml", str(folder), "make one with 'metaxcr run'"
        )
    with accept_old_names():
        return load_config(str(path))


def carry_out(
    settings: "Config",
    folder: Path,
    *,
    data: Path | None,
    resume: bool,
    quiet: bool,
    phases: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Carry out phases of a run, with progress on standard error."""
    from metaxcr.runs import experiment

    with progress(quiet) as shown:
        return experiment.run(
            settings, folder, progress=shown, root=data, resume=resume, phases=phases or experiment.PHASES,
            command=command_line(), ledger=project_settings().ledger,
        )  # fmt: skip


def show_results(folder: Path, *, as_json: bool) -> None:
    """Write the report, print the table (or results.json itself) and the paths of both files.

    The run is finished even if that fails: the failure is then one line.
    """
    from metaxcr.evaluation.results import format_table
    from metaxcr.reports.pages import write_report

    results = folder / "results.json"
    text = results.read_text(encoding="utf-8")
    page = try_report(lambda: write_report(folder), folder)
    if as_json:
        sys.stdout.write(printable_json(text))
    else:
        try_report(lambda: console().print(format_table(json.loads(text))), folder, "table")
        say(f"results: {results}")
    if page:
        (note if as_json else say)(f"report: {page}")


@examples("metaxcr report runs/starter", "metaxcr report runs/compare/sampler --figures figures")
def report(
    folder: Annotated[Path, argument("DIR", "Of a run, a comparison, or an adapted model.")],
    figures: Annotated[
        Place, option("--figures", "Also write figures (SVG, PDF) and tables (CSV, LaTeX).", "DIR")
    ] = None,
) -> None:
    """Write report.html of a run, a comparison or an adapted model again.

    Also of a run that was stopped: the report then says what is missing.
    """
    from metaxcr.fewshot.adapt_run import write_adapted_report
    from metaxcr.reports.pages import export, write_grid_report, write_report
    from metaxcr.saved_model import ADAPTATION

    kinds = {"compare.json": write_grid_report, ADAPTATION: write_adapted_report}
    write = next((kinds[name] for name in kinds if (folder / name).exists()), write_report)
    say(str(write(folder)))
    for path in export(folder, figures) if figures is not None else ():
        say(str(path))


@examples("metaxcr diagnose runs/starter", "metaxcr diagnose runs/starter --json")
def diagnose(folder: options.RunFolder, as_json: options.Json = False) -> None:
    """Find signs of trouble in a run, with the evidence and the setting to change.

    The run need not be finished. Looks for divergence, an unstable inner loop, sources that mismatch the
    target, a sampler that collapsed or never learned, weak alignment of languages, overfitted shots,
    and too few steps.
    """
    from metaxcr.diagnosis import rules
    from metaxcr.reports.run_records import read_run

    run, count = read_run(folder), len(rules.RULES)
    found = rules.diagnose(run)
    if as_json:
        print_json({"events": len(run.events), "rules": count, "findings": [f.record() for f in found]})
        return
    for line in run.missing:
        say(f"note: {line}")
    if not run.events:
        say("there are no events yet: nothing to look at")
    elif not found:
        say(f"none of {count} rules found a sign of trouble in {len(run.events)} events")
    else:
        rows = [(f.severity, f.rule, f.says, f.change) for f in found]
        print_table(("", "rule", "what was seen", "what to change"), rows)


@examples("metaxcr export runs/xcopa --out model", "metaxcr export models/mine --push owner/name --private")
def export(
    folder: options.RunFolder,
    out: Annotated[Place, option("--out", "A new folder.", "DIR")] = None,
    push: Annotated[Text, option("--push", "A repository on the hub.", "OWNER/NAME")] = None,
    private: Annotated[bool, option("--private", "With --push: a new one is private.")] = False,
) -> None:
    """Write a trained model without the rest of the run: a few MB that load on top of the encoder.

    The folder has the settings, the adapters and a model card; 'metaxcr predict' and MetaXCR.from_pretrained
    take it like the run itself.
    """
    if (out is None) == (push is None):
        raise UserError("pass exactly one of --out and --push", None)
    if private and push is None:
        raise UserError("--private belongs to --push", None)
    if out is not None and out.exists():
        raise UserError("the folder exists", str(out), "choose another --out")

    from metaxcr.api import MetaXCR

    model = MetaXCR.from_pretrained(folder)
    if out is not None:
        written = model.save_pretrained(out)
        size = sum(file.stat().st_size for file in written.rglob("*") if file.is_file())
        note(f"{size / 1e6:.1f} MB; the encoder, {model.config.encoder.name}, is not in it")
        say(f"model: {written}")
    else:
        say(f"model: {model.push_to_hub(str(push), private=private or None)}")
