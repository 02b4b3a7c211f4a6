"""``diagnose``: what went wrong in a run, in plain words."""

from metaxcr.cli.console import print_json, print_table, say
from metaxcr.cli.options import FolderArgument, JsonOption, examples


@examples("metaxcr diagnose runs/starter", "metaxcr diagnose runs/starter --json")
def diagnose(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Say what went wrong in a run, with the evidence and the setting to change.

    Reads the events, settings and results that are there; the run need not be finished. Looks for divergence,
    an unstable inner loop, sources that mismatch the target, a sampler that collapsed or never learned, weak
    alignment of languages, shots learned by heart, and too few steps.
    """
    from metaxcr.diagnosis import RULES
    from metaxcr.diagnosis import diagnose as apply_rules
    from metaxcr.reporting.read import read_run

    run = read_run(folder)
    found = apply_rules(run.evidence)
    if as_json:
        print_json({"events": len(run.events), "rules": len(RULES), "findings": [f.record() for f in found]})
        return
    for note in run.missing:
        say(f"note: {note}")
    if not run.events:
        say("there are no events yet: nothing to look at")
    elif not found:
        say(f"none of {len(RULES)} rules found a sign of trouble in {len(run.events)} events")
    else:
        rows = [(f.severity, f.rule, f.says, f.change) for f in found]
        print_table(("", "rule", "what was seen", "what to change"), rows)
