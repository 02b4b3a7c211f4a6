import pytest
from pydantic import ValidationError

from metaxcr.data.fetching.downloads import Download


def test_a_language_has_a_file_of_its_own():
    download = Download(to="x/{language}.tsv", url="https://h/{language}.zip", member="a/{language}.tsv")
    assert download.per_language
    one = download.for_language("et")
    assert (one.to, one.url, one.member) == ("x/et.tsv", "https://h/et.zip", "a/et.tsv")
    assert Download(to="x/{language}.tsv", hub="a/b").for_language("et").hub_path == "et.tsv"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"to": "a"}, "either 'url' or 'hub'"),
        ({"to": "a", "url": "https://h/a", "hub": "a/b"}, "either 'url' or 'hub'"),
        ({"to": "a", "url": "file:///etc/passwd"}, "does not begin with"),
        ({"to": "a", "hub": "a/b/c"}, "owner/name"),
        ({"to": "a", "url": "https://h/a", "path": "x"}, "'path' goes with 'hub'"),
        ({"to": "a", "hub": "a/b", "member": "x"}, "needs 'path'"),
        ({"to": "../a", "url": "https://h/a"}, "below the data root"),
        ({"to": "/a", "url": "https://h/a"}, "below the data root"),
        ({"to": "a/.b", "url": "https://h/a"}, "below the data root"),
        ({"to": "a\\b", "url": "https://h/a"}, "below the data root"),
        ({"to": "fetched.json", "url": "https://h/a"}, "below the data root"),
        ({"to": "{lang}", "url": "https://h/a"}, "may name only"),
        ({"to": "a", "url": "https://h/{language}"}, "or in neither"),
        ({"to": "{language}/a.json", "hub": "a/b"}, "or in neither"),
    ],
)
def test_what_is_no_download(fields, message):
    with pytest.raises(ValidationError, match=message):
        Download(**fields)
