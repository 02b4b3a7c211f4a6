"""The command line: the commands, in the order of ``metaxcr --help``, and errors as exit statuses."""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from metaxcr.cli import adapt, adapters, add, compare, configs, encoders, evaluate, run, tasks
from metaxcr.cli.console import warnings_as_notes
from metaxcr.cli.options import examples, option
from metaxcr.errors import UserError
from metaxcr.files import disk_is_full
from metaxcr.parse import file_error
from metaxcr.printable import printable

# System errors that are caused by a path that the user gave.
NAME_ERRORS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EISDIR, errno.ENOTDIR, errno.EROFS)
DONE, UNEXPECTED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; turn any error into one line and an exit status.

    0: done; 2: the user's input is wrong; 130: interrupted; 1: anything else.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words  # at any position: users append it to a command that failed
    words = [word for word in words if word != "--debug"]
    # No usage reports to the hub, and no warning when a process is started.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    command = get_command(app)
    try:
        # command.main() would swallow the interrupt
        with warnings_as_notes(), command.make_context("metaxcr", words or ["--help"]) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except BrokenPipeError:  # the reader (head, less) has closed its input
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNEXPECTED
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            print(printable(traceback.format_exc()), end="", file=sys.stderr)
        status, line = explain(error)
        print(printable(f"metaxcr: {line}"), file=sys.stderr)
        return status
    return DONE


def explain(error: BaseException) -> tuple[int, str]:
    """Return the exit status and the one line for an error."""
    usage_error: type[BaseException] = typer.BadParameter.__bases__[0]
    if isinstance(error, UserError):
        return USER_ERROR, " ".join(str(error).split("\n"))
    if isinstance(error, usage_error):
        return USER_ERROR, _usage(error)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return INTERRUPTED, (
            "interrupted; finished work is kept: the same command continues (run and train: with --resume)"
        )
    if isinstance(error, OSError) and error.errno in NAME_ERRORS:
        return USER_ERROR, str(file_error(error, error.filename or "a file"))
    if disk_is_full(error):
        place = getattr(error, "filename", None)
        return USER_ERROR, str(UserError("the disk is full", place, "make room, then continue with --resume"))
    reason = " ".join(str(error).split()) or "no further information"
    return UNEXPECTED, f"{type(error).__name__}: {reason}; run again with --debug for the traceback"


def _usage(error: BaseException) -> str:
    """One line for a wrong option or argument, with the command that prints help."""
    message = " ".join(str(getattr(error, "format_message", lambda: error)()).split())
    command = getattr(getattr(error, "ctx", None), "command_path", "metaxcr")
    return f"{message.rstrip('.')}; see '{command} --help'"


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
        bool, option("--version", "Print the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, option("--debug", "Show the traceback of an error.")] = False,
) -> None:
    """Adapt one frozen multilingual encoder to commonsense reasoning in languages with hardly any labels.

    Start with a run on the data in the package (some minutes on two cores). It ends with a table and a
    report; then rank choices of your own with the model.
    """


for _command in (
    run.run, run.train, adapt.adapt, evaluate.evaluate, evaluate.predict, compare.compare, run.export,
    run.report, run.diagnose, configs.estimate,
):  # fmt: skip
    app.command()(_command)
tasks.app.command()(add.fetch)
tasks.app.command()(add.add)
app.add_typer(tasks.app, name="tasks")
app.add_typer(configs.app, name="configs")
app.add_typer(adapters.app, name="adapters")
app.add_typer(encoders.app, name="encoders")
