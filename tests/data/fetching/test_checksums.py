"""The checksums that ship with the package."""

import pytest

from metaxcr.data.fetching import checksums


@pytest.mark.real
def test_official_files_have_their_checksum(data_root):
    """Every file that a task names and the data root holds has a line, and the line is right."""
    shipped = checksums.read_sums(checksums.SHIPPED)
    official = checksums.official_sums(data_root)
    wrong = {name for name, digest in official.items() if shipped.get(name) != digest}
    assert not wrong, f"run: python -m metaxcr.data.fetching.checksums $METAXCR_DATA   ({sorted(wrong)})"


def test_shipped_checksums_are_as_sha256sum_writes_them():
    shipped = checksums.shipped()
    assert list(shipped) == sorted(shipped) and len(shipped) > 50
    assert all(len(digest) == 64 and int(digest, 16) for digest in shipped.values())
    assert not [name for name in shipped if name.startswith(checksums.OTHER_FORM)]
