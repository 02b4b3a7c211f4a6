"""``estimate``."""

import json


def test_the_papers_preset(call):
    done = call("estimate", "paper")
    assert done.status == 0, done.err
    assert "2,849,592" in done.out
    assert "1.60%" in done.out
    assert "nothing but the embeddings" in done.out


def test_json_and_overrides(call):
    done = call("estimate", "paper-xlmr", "--set", "adapters.layers=[10, 11]", "--json")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert found["stages"][0]["parts"]["mixture"] == 10
    assert found["layers"] == {"of": 12, "with_adapters": [10, 11], "trunk": 10}
    assert found["cache_bytes_a_token"] == 2 * 768


def test_full_fine_tuning_and_no_adapter_at_all(call):
    words = ["--set", "adapters.kind=full", "--set", "adapters.layers=all", "--json"]
    done = call("estimate", "xcopa-embedded", *words)
    assert done.status == 0, done.err
    found = json.loads(done.out)
    layer = 4 * (384 * 384 + 384) + 2 * 4 * 384 * 384 + 4 * 384 + 384 + 4 * 384
    assert found["stages"][0]["parts"] == {"weights of layers": 12 * layer, "scorer": 384 * 384}
    assert found["layers"] == {"of": 12, "with_adapters": list(range(12)), "trunk": 0}
    settings = ["kind=none", "layers=top-third"]  # the preset's own layers have no effect then
    words = [word for setting in settings for word in ("--set", f"adapters.{setting}")]
    words += ["--set", "ctml.alignment=0", "--set", "clml.alignment=0"]
    done = call("estimate", "xcopa-embedded", *words)
    assert done.status == 0, done.err
    assert "no task adapter: the scorer alone is trained" in done.out
    assert "layers 0 to 11 of 12" in done.out


def test_an_unknown_setting_is_one_clear_line(call):
    done = call("estimate", "paper", "--set", "adapters.width=3")
    assert done.status == 2
    assert "unknown setting 'adapters.width'" in done.line
