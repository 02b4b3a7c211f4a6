"""Update ``SHA256SUMS`` after a task was added: ``python tools/update_checksums.py DATA_ROOT``.

Checksums of named files that the data root does not hold stay.
"""

import sys
from pathlib import Path

from metaxcr.data.registry import CHECKSUMS, SPECS, downloads_of, files_of, official_checksums, sha256
from metaxcr.data.spec import read_spec

# Names that the development data hold in another form than published (put together, derived, written anew);
# the checksum of such a file would refuse the official one.
OTHER_FORM = ("copa/train.jsonl", "xcopa_en/", "hellaswag/", "qasc/mcq_train.json", "udhr/")


def checksums_of(root: Path) -> dict[str, str]:
    """Return the SHA-256 of the official files that a data root holds, by name under the root."""
    specs = [spec for spec in map(read_spec, sorted(SPECS.glob("*.yaml"))) if not spec.package]
    names = {name for spec in specs for name in (*files_of(spec), *(d.to for d in downloads_of(spec)))}
    return {
        name: sha256(root / name)
        for name in sorted(names)
        if not name.startswith(OTHER_FORM) and (root / name).is_file()
    }


def main(root: Path) -> None:
    """Write the list with the files of a data root."""
    sums = dict(sorted({**official_checksums(), **checksums_of(root)}.items()))
    text = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    CHECKSUMS.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
