"""The commands and their order in ``metaxcr --help``."""

from typing import Annotated

import typer

from metaxcr.cli import (
    adapt,
    adapters,
    add,
    align,
    check,
    compare,
    configs,
    diagnose,
    encoders,
    estimate,
    export,
    fetch,
    language,
    model,
    predict,
    run,
    tasks,
)
from metaxcr.cli.options import examples

app = typer.Typer(
    name="metaxcr",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from metaxcr import __version__

        print(f"metaxcr {__version__}")
        raise typer.Exit


@app.callback()
@examples("metaxcr run starter", "metaxcr predict runs/starter questions.jsonl --language es")
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Adapt one frozen multilingual encoder to commonsense reasoning in languages with hardly any labels.

    Start with a run on the data that ship with the package (some minutes on two cores). It ends with a table
    and a report; then rank choices of your own with the model it made.
    """


app.command()(run.run)
app.command()(run.train)
app.command()(adapt.adapt)
app.command()(model.evaluate)
app.command()(predict.predict)
app.command()(compare.compare)
app.command()(export.export)
app.command()(run.report)
app.command()(diagnose.diagnose)
app.command()(estimate.estimate)
tasks.app.command()(check.check)
tasks.app.command()(fetch.fetch)
tasks.app.command()(add.add)
app.add_typer(tasks.app, name="tasks")
app.add_typer(configs.app, name="configs")
adapters.app.command()(language.train)
adapters.app.command()(align.align)
app.add_typer(adapters.app, name="adapters")
app.add_typer(encoders.app, name="encoders")
