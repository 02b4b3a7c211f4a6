"""``adapters ls``, ``import`` and ``export``."""

import json
from pathlib import Path

REFERENCE = Path(__file__).parents[1] / "adapters" / "reference" / "xlmr-madx"


def test_ls_prints_a_table_and_where_it_is_from(call):
    done = call("adapters", "ls", "--language", "sw")
    assert done.status == 0
    assert "AdapterHub/xlm-roberta-base-sw-wiki_pfeiffer" in done.out
    assert "Not downloaded by us" in done.err
    rows = json.loads(call("adapters", "ls", "--encoder", "xlm-roberta-large", "--json").out)
    assert {row["encoder"] for row in rows} == {"xlm-roberta-large"}


def test_import_and_export(call, tmp_path):
    done = call("adapters", "import", REFERENCE / "sw", "--out", tmp_path / "in", "--json")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert (found["kind"], found["bottleneck"], found["invertible"]) == ("pfeiffer", 8, True)
    assert found["layers"] == [0, 1, 2]
    done = call("adapters", "export", tmp_path / "in", "--out", tmp_path / "out", "--name", "swahili")
    assert done.status == 0, done.err
    assert "name: swahili" in done.out
    assert (tmp_path / "out" / "pytorch_adapter.bin").is_file()


def test_a_wrong_adapter_is_one_clear_line(call, tmp_path):
    done = call(
        "adapters", "import", REFERENCE / "sw", "--out", tmp_path / "in", "--encoder", "xlm-roberta-base"
    )
    assert done.status == 2
    assert "width 16) does not fit xlm-roberta-base (width 768)" in done.line
    done = call("adapters", "import", tmp_path / "nothing.zip", "--out", tmp_path / "in")
    assert done.status == 2
    assert "there is no folder" in done.line


def test_the_adapters_of_a_run_can_be_exported(call, toy_run, tmp_path):
    done = call("adapters", "export", toy_run / "adapters" / "meta", "--out", tmp_path / "out", "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out)["role"] == "task"
