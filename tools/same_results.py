"""Compare two run folders byte by byte: ``python tools/same_results.py runs/before runs/after``.

For refactorings: run ``metaxcr run starter`` with the code before and after, on the same machine. Results,
predictions, adapters, drawn shots and every number of the events must be equal; otherwise it exits with 1.
"""

import json
import sys
from pathlib import Path
from typing import Any

FOLDERS = ("predictions", "adapters", "shots")


def problems(one: Path, other: Path) -> list[str]:
    """What differs between two runs, in words."""
    found = []
    for folder in FOLDERS:
        files = [
            {p.relative_to(run): p for p in (run / folder).rglob("*") if p.is_file()} for run in (one, other)
        ]
        found += [f"{name} is in one of them only" for name in sorted(files[0].keys() ^ files[1].keys())]
        both = sorted(files[0].keys() & files[1].keys())
        found += [
            f"{name} differs" for name in both if files[0][name].read_bytes() != files[1][name].read_bytes()
        ]
    if results(one) != results(other):
        found.append("results.json differs")
    lines = [(run / "events.jsonl").read_text(encoding="utf-8").split("\n") for run in (one, other)]
    if lines[0] != lines[1]:
        first = next((n for n, pair in enumerate(zip(*lines, strict=False)) if pair[0] != pair[1]), 0)
        found.append(f"events.jsonl differs from line {first + 1} on")
    return found


def results(run: Path) -> dict[str, Any]:
    """The content of results.json."""
    content: dict[str, Any] = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return content


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    differences = problems(Path(sys.argv[1]), Path(sys.argv[2]))
    print("\n".join(differences) or "the runs are the same")
    sys.exit(bool(differences))
