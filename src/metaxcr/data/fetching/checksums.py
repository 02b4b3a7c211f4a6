"""SHA-256 of the official files that the package's tasks name.

``python -m metaxcr.data.fetching.checksums DATA_ROOT`` writes the list again after a task was added.
"""

import hashlib
import sys
from functools import lru_cache
from pathlib import Path

from metaxcr.parse import lines_of_text

SHIPPED = Path(__file__).parents[1] / "specs" / "SHA256SUMS"

# Names that the development data hold in another form than published (put together, derived, written anew);
# the sum of such a file would refuse the official one.
OTHER_FORM = ("copa/train.jsonl", "xcopa_en/", "hellaswag/", "qasc/mcq_train.json", "udhr/")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@lru_cache(maxsize=1)
def shipped() -> dict[str, str]:
    """Return the sums that ship with the package: name under a data root -> SHA-256."""
    return read_sums(SHIPPED)


def read_sums(path: Path) -> dict[str, str]:
    """Read a file as ``sha256sum`` writes it."""
    lines = lines_of_text(path.read_text(encoding="utf-8")) if path.is_file() else []
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines if line)}


def official_sums(root: Path) -> dict[str, str]:
    """Hash the official files of the package's own tasks that a data root holds.

    Args:
        root: Folder with the official files.

    Returns:
        Name under the root -> SHA-256, sorted by name.
    """
    from metaxcr.data.data_dirs import files_of
    from metaxcr.data.fetching.wanted import wanted
    from metaxcr.data.registry import SPECS
    from metaxcr.data.spec import read_spec

    specs = [spec for spec in map(read_spec, sorted(SPECS.glob("*.yaml"))) if not spec.package]
    names = {name for spec in specs for name in (*files_of(spec), *(d.to for d in wanted(spec)))}
    return {
        name: sha256(root / name)
        for name in sorted(names)
        if not name.startswith(OTHER_FORM) and (root / name).is_file()
    }


def main(root: Path) -> None:
    """Write the list anew; sums of named files that the root does not hold stay."""
    sums = dict(sorted({**read_sums(SHIPPED), **official_sums(root)}.items()))
    text = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    SHIPPED.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
