import pytest
import yaml
from pydantic import ValidationError

from metaxcr.data.registry import SPECS, task_ids, task_spec
from metaxcr.data.spec import Download, IdRange, read_spec
from metaxcr.errors import UserError

COPA = (SPECS / "copa.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("task_id", task_ids())
def test_every_shipped_task_is_declared_completely(task_id):
    spec = task_spec(task_id)
    assert spec.citation and spec.licence and spec.url.startswith("https://")
    assert all(len(language) == 2 for language in spec.languages)
    assert len(set(spec.languages)) == len(spec.languages)
    assert set(spec.codes) <= set(spec.languages)
    if spec.parallel:
        assert len(spec.languages) > 1 or spec.origin
        assert spec.languages == ["en"] or all(
            "{language}" in split.files.data for split in spec.splits.values()
        )
    elif len(spec.languages) > 1:  # each language has rows of its own: a file, or part of one
        assert all(
            "{language}" in split.files.data or "{language}" in str(spec.split_fields(name).where)
            for name, split in spec.splits.items()
        )
    if spec.relation == "none":
        assert spec.phrasing.context == ""


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("title:", "titel: x\ntitle:", "titel"),
        ("version: 1", "version: 0", "version"),
        ("version: 1\n", "", "version"),
        ("format: jsonl", "format: excel", "format"),
        ("relation: question", "relation: sideways", "relation"),
        ('"{split}-{idx}"', '"{split}-{idx.real}"', "fields.id"),
        ("copa/val.jsonl", '"copa/{lang}.jsonl"', "splits.val.files.data"),
        ("origin: copa", 'origin: copa\nphrasing: {context: "{premise}"}', "phrasing.context"),
        (
            "origin: copa",
            'origin: copa\nrelation_rules: [{pattern: "(", relation: cause}]',
            "relation_rules.0.pattern",
        ),
    ],
)
def test_a_wrong_key_is_named(tmp_path, old, new, key):
    path = tmp_path / "copa.yaml"
    assert old in COPA
    path.write_text(COPA.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_spec(path)
    assert f"'{key}'" in caught.value.what and caught.value.where == str(path) and caught.value.fix


def test_broken_yaml_is_reported_with_its_line(tmp_path):
    path = tmp_path / "copa.yaml"
    path.write_text(COPA + "\n}: [\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_spec(path)
    assert caught.value.where == f"{path}:{len(COPA.splitlines()) + 2}"


def test_the_file_is_named_after_the_task(tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text(COPA, encoding="utf-8")
    with pytest.raises(UserError, match=r"copa\.yaml"):
        read_spec(path)


def test_a_declaration_survives_a_round_trip(tmp_path):
    for task_id in task_ids():
        path = tmp_path / f"{task_id}.yaml"
        dumped = task_spec(task_id).model_dump(by_alias=True, mode="json")
        path.write_text(yaml.safe_dump(dumped, allow_unicode=True), encoding="utf-8")
        assert read_spec(path) == task_spec(task_id)


def test_id_ranges_include_both_ends():
    assert [number for number in range(5) if number in IdRange(first=1, last=3)] == [1, 2, 3]
    assert 10**6 in IdRange(first=4) and 3 not in IdRange(first=4)


def test_a_language_has_a_file_of_its_own():
    declared = Download(to="x/{language}.tsv", url="https://h/{language}.zip", member="a/{language}.tsv")
    assert declared.per_language
    one = declared.for_language("et")
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
def test_invalid_downloads_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        Download(**fields)
