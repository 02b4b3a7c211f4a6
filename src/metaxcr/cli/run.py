"""``run``, ``train`` and ``report``: the critical path, whole or in parts."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli.console import console, note, say, try_report
from metaxcr.cli.options import (
    DataOption,
    JsonOption,
    QuietOption,
    SetOption,
    ShotsOption,
    examples,
    out_option,
)
from metaxcr.errors import UserError
from metaxcr.printable import printable_json

if TYPE_CHECKING:
    from metaxcr.config import Config

ConfigArgument = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A YAML file, or a shipped name ('metaxcr configs ls').")
]
OutOption = Annotated[Path | None, out_option("The run folder.", "runs/<name of CONFIG>")]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Continue the folder where it stopped; start it if it is not there.")
]
LeaksOption = Annotated[
    bool,
    typer.Option("--allow-leaks", help="Go on where training data hold test items; the results say so."),
]


@examples(
    "metaxcr run starter",
    "metaxcr run starter --set 'run.seeds=[0]' --set 'target.languages=[es,sw]'",
    "metaxcr run configs/xcopa-embedded.yaml --data DIR --out runs/xcopa --resume",
    "metaxcr run starter --shots runs/other",
)
def run(
    config: ConfigArgument,
    overrides: SetOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    shots: ShotsOption = None,
    allow_leaks: LeaksOption = False,
    data: DataOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Do everything: train, adapt, evaluate, report.

    Meta-trains on the English sources, adapts to every target language, evaluates every regime beside the
    untrained similarity, and writes results.json and report.html into the run folder. Stopped or killed, the
    same command with --resume goes on and gives the same results.
    """
    settings, folder = _settings(config, overrides, out, shots, allow_leaks)
    carry_out(settings, folder, data=data, resume=resume, quiet=quiet)
    show_results(folder, as_json=as_json)


@examples("metaxcr train starter --out runs/mine")
def train(
    config: ConfigArgument,
    overrides: SetOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    shots: ShotsOption = None,
    allow_leaks: LeaksOption = False,
    data: DataOption = None,
    quiet: QuietOption = False,
) -> None:
    """Meta-train on the English sources only.

    The first part of 'metaxcr run': CTML, once per seed. The folder then has adapters/meta, which
    'metaxcr predict' can use in any of the target languages.
    """
    settings, folder = _settings(config, overrides, out, shots, allow_leaks)
    carry_out(settings, folder, data=data, resume=resume, quiet=quiet, phases=("train",))
    say(f"trained: {folder / 'adapters' / 'meta'}")
    say(f"next: metaxcr adapt {folder}")


@examples("metaxcr report runs/starter", "metaxcr report runs/compare/sampler --figures figures")
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Of a run, a comparison, or an adapted model.")
    ],
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures", metavar="DIR", help="Also write figures (SVG, PDF) and tables (CSV, LaTeX)."
        ),
    ] = None,
) -> None:
    """Write report.html of a run, a comparison or an adapted model again.

    Also of a run that was stopped: the report then says what is missing.
    """
    from metaxcr.fewshot.folder import write_adapted_report
    from metaxcr.hub import ACCOUNT
    from metaxcr.reporting import write_report
    from metaxcr.reporting.export import export
    from metaxcr.reporting.grid import write_grid_report

    kinds = {"compare.json": write_grid_report, ACCOUNT: write_adapted_report}
    write = next((kinds[name] for name in kinds if (folder / name).exists()), write_report)
    say(str(write(folder)))
    for path in export(folder, figures) if figures is not None else ():
        say(str(path))


def folder_settings(folder: Path) -> "Config":
    """Return the settings that a run folder was made with.

    Raises:
        UserError: It is no run folder.
    """
    from metaxcr.config_io import load_config

    path = folder / "config.yaml"
    if not path.is_file():
        raise UserError(
            "not a run folder: there is no config.yaml", str(folder), "make one with 'metaxcr run'"
        )
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
    from metaxcr.experiments.progress import Progress
    from metaxcr.experiments.run import PHASES
    from metaxcr.experiments.run import run as run_phases

    progress = Progress(console(stderr=True), quiet=quiet)
    command = shlex.join(["metaxcr", *sys.argv[1:]])
    try:
        return run_phases(
            settings,
            folder,
            progress=progress,
            root=data,
            resume=resume,
            phases=phases or PHASES,
            command=command,
        )
    finally:
        progress.finish()


def show_results(folder: Path, *, as_json: bool) -> None:
    """Write the report, print the table (or results.json itself) and name both files.

    The run is finished, whatever becomes of them: a failure is one line.
    """
    import json

    from metaxcr.evaluation.table import format_table
    from metaxcr.reporting import write_report

    results = folder / "results.json"
    text = results.read_text(encoding="utf-8")
    page = try_report(lambda: write_report(folder), folder)
    if as_json:
        sys.stdout.write(printable_json(text))
        note(f"report: {page}") if page else None
        return
    try_report(lambda: console().print(format_table(json.loads(text))), folder, "table")
    say(f"results: {results}")
    if page:
        say(f"report: {page}")


def _settings(
    config: str, overrides: list[str] | None, out: Path | None, shots: Path | None, allow_leaks: bool
) -> tuple["Config", Path]:
    """Return the settings, options included, and the run folder."""
    import json

    from metaxcr.config_io import find, load_config

    words = list(overrides or ())
    if shots is not None:
        # absolute, because later commands read it from the folder's config.yaml, wherever they are called
        words.append(f"target.shots_file={json.dumps(str(shots.absolute()))}")
    if allow_leaks:
        words.append("run.allow_leaks=true")
    return load_config(config, words), out or Path("runs") / find(config).stem
