"""``estimate``: what a configuration trains and holds, before anything is downloaded or computed."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli.console import print_json, print_table, say
from metaxcr.cli.options import JsonOption, SetOption, examples

if TYPE_CHECKING:
    from metaxcr.config import Config


@examples("metaxcr estimate paper", "metaxcr estimate paper-xlmr --set adapters.bottleneck=96 --json")
def estimate(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="A YAML file, or a shipped name ('metaxcr configs ls').")
    ],
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count what a configuration trains, stage by stage and part by part.

    Works offline and without weights for the encoders whose shapes ship with the package ('metaxcr encoders
    ls'); of another one on the hub only the configuration is fetched. No time is given: it depends on the
    machine and the texts.
    """
    from metaxcr.config_io import load_config
    from metaxcr.encoders.shapes import shape
    from metaxcr.scoring.account import parameter_account
    from metaxcr.scoring.build import adapter_layers

    settings = load_config(config, overrides or ())
    encoder = shape(settings.encoder.name, settings.encoder.revision)
    layers = adapter_layers(settings, encoder.depth)
    start = layers[0] if layers else encoder.depth
    found = {
        "encoder_name": encoder.name,
        **parameter_account(settings, encoder),
        "layers": {"of": encoder.depth, "with_adapters": layers, "trunk": start},
        "cache_bytes_a_token": encoder.width * (2 if settings.encoder.dtype == "bfloat16" else 4),
        "steps": _steps(settings),
    }
    if as_json:
        print_json(found)
        return
    show_account(found, encoder.name)
    if not layers:
        say("no task adapter: the scorer alone is trained")
    trunk = f"layers 0 to {start - 1}" if start else "nothing but the embeddings"
    say(f"trunk: {trunk} of {encoder.depth}, computed once; {found['cache_bytes_a_token']:,} bytes a token")
    for stage, text in found["steps"].items():
        say(f"{stage}: {text}")


def show_account(account: dict[str, Any], encoder: str) -> None:
    """Print the table of what is trained.

    Args:
        account: From :func:`metaxcr.scoring.account.parameter_account`.
        encoder: Its name.
    """
    rows = []
    for stage in account["stages"]:
        parts = [(stage["stage"], part, f"{count:,}", "", "") for part, count in stage["parts"].items()]
        shares = (f"{stage[key]:.2%}" for key in ("share", "share_without_embeddings"))
        rows += [*parts, (stage["stage"], "all", f"{stage['trained']:,}", *shares)]
    rows += [("never", f"{part}, frozen", f"{count:,}", "", "") for part, count in account["frozen"].items()]
    title = f"{encoder}: {account['encoder']:,} parameters, {account['embeddings']:,} of them embeddings"
    columns = ("stage", "part", ">trained", ">share", ">without embeddings")
    print_table(columns, rows, title=title)
    say(account["rule"])


def _steps(config: "Config") -> dict[str, str]:
    """How much each stage does: its unit is a question, because tokens depend on the texts."""
    seeds, few = len(config.run.seeds), "few-shot" in config.run.regimes
    meta = {"ctml": config.ctml, "clml": config.clml}
    found = {
        stage: f"{s.steps} episodes of {s.support} + {s.query} questions, {s.learner}, K = {s.inner_steps}; "
        f"{seeds} seeds"
        for stage, s in meta.items()
    }
    if few:
        tune = config.finetune
        languages = f"{len(config.target.languages)} languages, {seeds} seeds"
        found["finetune"] = f"{tune.steps} steps of {tune.batch} questions; {languages}"
    return found
