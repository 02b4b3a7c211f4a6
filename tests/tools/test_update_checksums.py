"""The checksums that ship with the package."""

import pytest
from tools.update_checksums import OTHER_FORM, checksums_of

from metaxcr.data.registry import official_checksums


@pytest.mark.real
def test_official_files_have_their_checksum(data_root):
    """Every file that a task names and the data root holds has a line, and the line is right."""
    wrong = {name for name, sum_ in checksums_of(data_root).items() if official_checksums().get(name) != sum_}
    assert not wrong, f"run: python tools/update_checksums.py $METAXCR_DATA   ({sorted(wrong)})"


def test_shipped_checksums_are_as_sha256sum_writes_them():
    sums = official_checksums()
    assert list(sums) == sorted(sums) and len(sums) > 50
    assert all(len(digest) == 64 and int(digest, 16) for digest in sums.values())
    assert not [name for name in sums if name.startswith(OTHER_FORM)]
