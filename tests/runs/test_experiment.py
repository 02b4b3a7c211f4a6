"""Runs on a random toy encoder: units of work, bytes that interruptions do not change, refused settings."""

import errno
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from metaxcr.api import MetaXCR
from metaxcr.config.io import load_config
from metaxcr.config.schema import Config
from metaxcr.data.example import draw_shots
from metaxcr.data.registry import load
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.model_card import model_card
from metaxcr.reports.pages import write_report
from metaxcr.runs import run_data
from metaxcr.runs.experiment import PHASES, check_regimes, run
from metaxcr.runs.progress import Progress
from metaxcr.runs.run_dir import RunDir

SMALL = [
    *("run.seeds=[3]", "run.checkpoint_every=1", "run.threads=1", "encoder.max_tokens=64"),
    *("target.languages=[sw, it]", "target.parallel.languages=[sw, it]", "adapters.bottleneck=8"),
    *("ctml.steps=4", "ctml.support=4", "ctml.query=4", "ctml.reward=4", "ctml.pairs=4", "sampler.window=2"),
    *("clml.few_shot_steps=2", "clml.support=4", "clml.query=4", "clml.reward=4"),
    *("finetune.steps=2", "finetune.batch=4"),
]
# for the tests of the units of work
UNITS = ["ctml.steps=2", "clml.steps=6", "clml.few_shot_steps=3"]
# the items that shots come from may also teach in other languages here: nothing of them is evaluated
AUX = "target.auxiliary={{task: starter_target, split: shots, languages: [{}]}}"


@pytest.fixture(scope="module", autouse=True)
def toy_runs(tmp_path_factory: pytest.TempPathFactory, toy_encoder: FrozenEncoder) -> Iterator[None]:
    """All runs of this file use a random toy encoder and share one trunk cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METAXCR_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("metaxcr.runs.experiment.load_encoder", lambda name, **options: toy_encoder)
        yield


def start(config: Config, out: Path, **options: Any) -> dict[str, Any]:
    return run(config, out, progress=Progress(Console(quiet=True), quiet=True), **options)


def small(*overrides: str) -> Config:
    return load_config("starter", [*SMALL, *UNITS, *overrides])


def events(out: Path, **wanted: Any) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in (out / "events.jsonl").read_text().splitlines())
    return [event for event in lines if all(event.get(key) == value for key, value in wanted.items())]


def total_labels(results: dict[str, Any], regime: str) -> dict[tuple[str, str], tuple[int, int]]:
    rows = (r for r in results["rows"] if r["regime"] == regime)
    return {(r["lang"], r["method"]): (r["k"], r["total_labels"]) for r in rows}


def published(out: Path, language: str) -> str:
    """Name of the parameters that users get for a language."""
    scorer = load_file(out / "adapters" / f"target.starter_target.{language}" / "scorer.safetensors")[
        "scorer"
    ]
    states = {p.name.split(".seed")[0]: load_file(p) for p in (out / "checkpoints").glob("*.seed3*")}
    (name,) = [n for n, state in states.items() if torch.equal(state["scorer"], scorer)]
    return name


def test_auxiliary_labels_never_include_the_tested_language(tmp_path: Path) -> None:
    config = small("run.regimes=[zero-shot, zero-shot-aux]", AUX.format("sw, fr, es"))
    results = start(config, tmp_path / "run")
    assert results["shares"]["auxiliary"] == {
        "clml": ["sw", "fr", "es"],
        "clml.without-sw": ["fr", "es"],
    }
    assert total_labels(results, "zero-shot-aux") == {("it", "clml"): (0, 108), ("sw", "clml"): (0, 72)}
    assert published(tmp_path / "run", "sw") == "clml.without-sw"
    assert published(tmp_path / "run", "it") == "clml"
    used = events(tmp_path / "run", adaptation="clml.without-sw")
    assert len(used) == 6
    assert "sw" not in {e[side] for e in used for side in ("support_language", "query_language")}
    assert any("sw" in e.values() for e in events(tmp_path / "run", stage="clml") if e not in used)


def test_what_answers_in_a_language_does_not_depend_on_its_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong Swahili auxiliary labels change the shared run, and nothing that answers in Swahili."""
    config = small("run.regimes=[zero-shot-aux]", AUX.format("sw, fr, es"), "clml.cross_task=0")
    start(config, tmp_path / "one")
    encode = run_data.encode_task

    def wrong(examples, *args, **options):
        data = encode(examples, *args, **options)
        if data.language == "sw" and len(data) == 36:
            data.questions.labels.copy_(1 - data.questions.labels)
        return data

    monkeypatch.setattr(run_data, "encode_task", wrong)
    start(config, tmp_path / "two")
    files = [[tmp_path / n / "checkpoints" / f"{name}.seed3.safetensors" for n in ("one", "two")]
             for name in ("clml", "clml.without-sw")]  # fmt: skip
    assert files[0][0].read_bytes() != files[0][1].read_bytes()
    assert files[1][0].read_bytes() == files[1][1].read_bytes()
    name = "predictions/starter_target.sw.zero-shot-aux-clml.seed3.jsonl"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_one_adapter_a_language_on_the_nearest_languages(tmp_path: Path) -> None:
    aux = "target.auxiliary={task: starter_target, split: shots, languages: [sw, fr, es, ru], nearest: 2}"
    config = small("run.regimes=[zero-shot-aux]", aux, "clml.per_language=true", "clml.alignment=1.0")
    results = start(config, tmp_path / "run")
    chosen = results["shares"]["auxiliary"]
    assert chosen.keys() == {"clml.sw", "clml.it"}
    assert all(len(set(languages)) == 2 for languages in chosen.values())
    assert "sw" not in chosen["clml.sw"]
    seen = {
        e[side]
        for e in events(tmp_path / "run", adaptation="clml.it")
        for side in ("support_language", "query_language")
    }
    assert seen - {"en"} <= set(chosen["clml.it"])
    assert {p.name for p in (tmp_path / "run" / "checkpoints").glob("clml*")} == {
        "clml.sw.seed3.safetensors",
        "clml.it.seed3.safetensors",
    }


def test_nearest_needs_parallel_text(tmp_path: Path) -> None:
    aux = "target.auxiliary={task: starter_target, split: shots, languages: [fr, es], nearest: 1}"
    config = small("run.regimes=[zero-shot-aux]", aux, "target.parallel=null", "ctml.alignment=0")
    with pytest.raises(UserError, match=r"target\.auxiliary\.nearest"):
        start(config, tmp_path / "run")


def test_a_policy_over_support_languages_is_paid_saved_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small("run.regimes=[zero-shot-aux]", AUX.format("fr, es, ru"), "clml.languages=reinforce")
    start(config, tmp_path / "whole")
    found = events(tmp_path / "whole", stage="clml")
    assert {"probabilities" in e for e in found} == {True, False}
    for event in found:
        asked = event.get("language_probabilities") or event["probabilities"]
        assert event["reward"] is not None
        assert ("language_probabilities" in event) == (event["kind"] == "cross-lingual")
        assert ("probabilities" in event) == (event["kind"] == "cross-task")
        assert sum(asked.values()) == pytest.approx(1, abs=1e-5)
    languages = [e["language_probabilities"] for e in found if e["kind"] == "cross-lingual"]
    assert languages[0].keys() == {"fr", "es", "ru"}

    checkpoint = RunDir.checkpoint

    def killed(self: RunDir, unit: str, step: int, state: dict[str, torch.Tensor]) -> None:
        checkpoint(self, unit, step, state)
        if unit.startswith("clml") and step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            start(config, tmp_path / "parts")
    start(config, tmp_path / "parts", resume=True)
    for name in ("events.jsonl", "results.json", "checkpoints/clml.seed3.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


@pytest.mark.parametrize("per_language", [False, True])
def test_pooled_shots_have_rows_of_their_own_and_a_baseline_with_the_same_labels(
    tmp_path: Path, per_language: bool
) -> None:
    config = small("run.regimes=[zero-shot, pooled-shots]", f"clml.per_language={str(per_language).lower()}")
    results = start(config, tmp_path / "run")
    assert total_labels(results, "pooled-shots") == {
        (language, method): (16, 32) for language in ("it", "sw") for method in ("finetune", "finetune-alone")
    }
    kept = {p.name.split(".seed")[0] for p in (tmp_path / "run" / "checkpoints").glob("pooled*")}
    assert kept == {"pooled-alone", *(["pooled.it", "pooled.sw"] if per_language else ["pooled"])}
    labels = {(d["a"], d["b"]) for d in results["differences"]}
    assert ("pooled-shots/finetune/k=16", "pooled-shots/finetune-alone/k=16") in labels
    assert ("pooled-shots/finetune/k=16", "zero-shot/ctml") in labels
    assert published(tmp_path / "run", "sw") == ("pooled.sw" if per_language else "pooled")
    clml = events(tmp_path / "run", stage="clml")
    assert len(clml) == 6
    assert {e["query_language"] for e in clml} == {"it", "sw"}
    alone = events(tmp_path / "run", stage="finetune", clml=False)
    assert [e["step"] for e in alone] == [0, 1, 2, 3]


def test_shots_may_pay_ctml_in_runs_of_their_own(tmp_path: Path) -> None:
    regimes = "run.regimes=[zero-shot, few-shot]"
    start(small(regimes), tmp_path / "english")
    start(small(regimes, "ctml.reward_data=shots"), tmp_path / "shots")
    english, shots = (
        {p.name: load_file(p) for p in (tmp_path / n / "checkpoints").glob("*seed3*")}
        for n in ("english", "shots")
    )
    assert shots.keys() - english.keys() == {"ctml.it.seed3.safetensors", "ctml.sw.seed3.safetensors"}
    one, other = english["ctml.seed3.safetensors"], shots["ctml.seed3.safetensors"]
    assert all(torch.equal(one[name], other[name]) for name in one), "zero-shot stays as it is"
    assert {e["language"] for e in events(tmp_path / "shots", stage="ctml") if "language" in e} == {
        "it",
        "sw",
    }


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["run.regimes=[few-shot]", "clml.languages=reinforce"], "clml.languages"),
        (["run.regimes=[zero-shot]", "clml.per_language=true"], "clml.per_language"),
        (["run.regimes=[zero-shot-aux]", "clml.per_language=true"], "clml.per_language"),  # no auxiliary data
        (["run.regimes=[zero-shot]", "ctml.reward_data=shots"], "ctml.reward_data"),
        (["run.regimes=[pooled-shots]", "target.languages=[sw]"], "target.languages"),
    ],
)
def test_settings_without_effect_are_refused(overrides: list[str], named: str) -> None:
    with pytest.raises(UserError) as error:
        check_regimes(small(*overrides))
    assert named in str(error.value)
    check_regimes(small())


@pytest.mark.parametrize("other", ["clml.cross_task=1", "clml.learner=sequential"])
def test_a_language_policy_that_could_never_choose_is_refused(other: str) -> None:
    with pytest.raises(UserError, match="languages has to be uniform"):
        small("clml.languages=reinforce", other)


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config("starter", SMALL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, config: Config) -> Path:
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    start(config, out)
    return out


def contents(out: Path) -> dict[str, bytes]:
    """The bytes of everything that must not depend on interruptions: times stay in costs and environment."""
    files = [p for p in out.rglob("*") if p.is_file() and p.name not in ("costs.json", "environment.json")]
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


def test_rows_and_folder(whole: Path) -> None:
    results = json.loads((whole / "results.json").read_text())
    rows = {(r["lang"], r["regime"], r["method"], r["k"], r["total_labels"]) for r in results["rows"]}
    expected = {("none", "similarity", 0, 0), ("zero-shot", "ctml", 0, 0), ("few-shot", "finetune", 16, 16)}
    assert rows == {(lang, *rest) for lang in ("it", "sw") for rest in expected}
    assert {d["a"] for d in results["differences"]} >= {"zero-shot/ctml", "few-shot/finetune/k=16"}
    assert (whole / "adapters" / "meta" / "adapter_config.json").exists()
    assert (whole / "adapters" / "target.starter_target.sw" / "adapter.safetensors").exists()
    stages = {s["stage"]: s for s in json.loads((whole / "costs.json").read_text())["stages"]}
    assert all(stages[name]["token_passes"] > 0 for name in ("trunk", "ctml", "clml", "finetune", "evaluate"))
    events = [json.loads(line) for line in (whole / "events.jsonl").read_text().splitlines()]
    for name in ("ctml", "clml"):
        parts, mine = stages[name]["parts"], [e for e in events if e["stage"] == name]
        for part in ("support", "query", "reward"):
            assert parts[part]["token_passes"] == sum(e["passes"].get(part, 0) for e in mine) > 0
            assert 0 < parts[part]["seconds"] < stages[name]["seconds"]
        assert sum(p["token_passes"] for p in parts.values()) == stages[name]["token_passes"]
        assert parts["sampler"]["seconds"] > 0 and parts["sampler"]["token_passes"] == 0
    assert [e["step"] for e in events if e["stage"] == "ctml"] == [0, 1, 2, 3]
    assert all(abs(sum(e["probabilities"].values()) - 1) < 1e-5 for e in events if e["stage"] == "ctml")
    assert all(e["reward"] is not None for e in events if e["stage"] == "ctml")


def test_same_seed_same_bytes(whole: Path, config: Config, tmp_path: Path) -> None:
    start(config, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(whole)


def test_another_seed_differs(whole: Path, tmp_path: Path) -> None:
    start(load_config("starter", [*SMALL, "run.seeds=[4]"]), tmp_path / "other")
    one, other = (json.loads((p / "results.json").read_text()) for p in (whole, tmp_path / "other"))
    similarity = [[r["acc"] for r in x["rows"] if r["method"] == "similarity"] for x in (one, other)]
    assert similarity[0] == similarity[1]
    name = "checkpoints/ctml.seed{}.safetensors"
    assert (whole / name.format(3)).read_bytes() != (tmp_path / "other" / name.format(4)).read_bytes()


def test_the_cache_changes_no_byte_and_little_is_computed(
    config: Config, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with a cold cache, a warm one, and one that another seed filled with other episodes' texts."""
    few = [*SMALL, "ctml.steps=2", "run.regimes=[zero-shot]"]
    for first in (3, 4):
        monkeypatch.setenv("METAXCR_CACHE", str(tmp_path / f"cache{first}"))
        start(load_config("starter", [*few, f"run.seeds=[{first}]"]), tmp_path / f"few{first}")
        start(config, tmp_path / f"after{first}")
        assert contents(tmp_path / f"after{first}") == contents(whole)
    start(load_config("starter", few), tmp_path / "again")  # after seed 4, and after more episodes
    assert contents(tmp_path / "again") == contents(tmp_path / "few3")
    cold, warm = (json.loads((tmp_path / name / "costs.json").read_text()) for name in ("few3", "again"))
    passes = [next(s["token_passes"] for s in c["stages"] if s["stage"] == "trunk") for c in (cold, warm)]
    assert passes == [cold["trunk"]["computed_tokens"], 0]
    assert warm["trunk"]["computed_tokens"] < cold["trunk"]["computed_tokens"] == cold["trunk"]["used_tokens"]
    assert cold["trunk"]["used_tokens"] == warm["trunk"]["used_tokens"]
    certain = sum(s["token_passes"] for s in cold["stages"] if s["stage"] == "evaluate") / 2  # two methods
    assert cold["trunk"]["used_tokens"] - certain < 0.2 * (cold["trunk"]["tokens"] - certain)


@pytest.mark.parametrize("kill", [1, 3, 4, 6, 8])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_and_resumed(
    whole: Path, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: int, moment: str
) -> None:
    """Killed before or after the n-th write of the journal, with an event written that it does not know."""
    out = tmp_path / "run"
    start_and_kill(config, out, monkeypatch, kill, moment)
    start(config, out, resume=True)
    assert contents(out) == contents(whole)


def start_and_kill(
    config: Config, out: Path, monkeypatch: pytest.MonkeyPatch, kill: int, moment: str = "after"
) -> None:
    """Start a run that dies around the n-th write of its journal."""
    writes, original = [0], RunDir._write_journal

    def killed(self: RunDir, state: dict) -> None:
        writes[0] += 1
        if writes[0] == kill and moment == "before":
            raise KeyboardInterrupt
        original(self, state)
        if writes[0] == kill:
            self.log({"stage": "lost"})
            self._events.flush()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "_write_journal", killed)
        with pytest.raises(KeyboardInterrupt):
            start(config, out)


@pytest.mark.parametrize("writer", ["runs.context.save_phi", "work_dir.save_file", "files.os.replace"])
def test_a_full_disk_is_one_line_and_the_run_goes_on_later(
    whole: Path, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    out = tmp_path / "run"

    def full(*args, **kwargs) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    start(config, out, phases=())
    with monkeypatch.context() as patch:
        patch.setattr(f"metaxcr.{writer}", full)
        with pytest.raises(UserError, match=r"disk is full.*--resume"):
            start(config, out, resume=True)
    start(config, out, resume=True)
    assert contents(out) == contents(whole)


def test_phase_by_phase_equals_one_run(whole: Path, config: Config, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for phases in (("train",), ("train", "adapt"), PHASES):
        start(config, out, resume=out.exists(), phases=phases)
    assert contents(out) == contents(whole)


def test_existing_folder_is_refused(whole: Path, config: Config) -> None:
    with pytest.raises(UserError, match="--resume"):
        start(config, whole)


def test_a_folder_in_use_is_refused(whole: Path, config: Config) -> None:
    folder = RunDir(whole)
    try:
        with pytest.raises(UserError, match="another process"):
            start(config, whole, resume=True)
    finally:
        folder.close()
    assert start(config, whole, resume=True)["schema"] == 1


def test_other_settings_are_refused(whole: Path) -> None:
    other = load_config("starter", [*SMALL, "ctml.inner_lr=0.01", "run.threads=2"])
    with pytest.raises(UserError, match=r"ctml\.inner_lr.*run\.threads|run\.threads.*ctml\.inner_lr"):
        start(other, whole, resume=True)


@pytest.mark.parametrize(
    ("key", "setting", "other"), [("dtype", "encoder.dtype", "float16"), ("device", "run.device", "cuda")]
)
def test_a_run_is_not_continued_with_another_machines_choice(
    whole: Path, config: Config, tmp_path: Path, key: str, setting: str, other: str
) -> None:
    """What auto came to is the run's own: the line says how to keep it."""
    shutil.copytree(whole, tmp_path / "run")
    record = tmp_path / "run" / "environment.json"
    environment = json.loads(record.read_text())
    assert environment["dtype_because"] and environment["device"] == "cpu"
    record.write_text(json.dumps(environment | {key: other}))
    with pytest.raises(UserError, match=rf"--set {setting}={other}"):
        start(config, tmp_path / "run", resume=True)
    environment["dtype"], chosen = "float32", load_config("starter", [*SMALL, "encoder.dtype=float32"])
    record.write_text(json.dumps(environment))
    assert start(chosen, tmp_path / "run", resume=True)["schema"] == 1  # named: the same as it was


def test_a_run_older_than_the_choice_was_in_bfloat16(whole: Path, config: Config, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    record = tmp_path / "run" / "environment.json"
    environment = json.loads(record.read_text())
    for key in ("device", "dtype"):
        environment.pop(key)
    record.write_text(json.dumps(environment))
    settings = (tmp_path / "run" / "config.yaml").read_text().replace("dtype: auto", "dtype: bfloat16")
    (tmp_path / "run" / "config.yaml").write_text(settings)
    with pytest.raises(UserError, match=r"started with encoder\.dtype bfloat16"):
        start(load_config("starter", [*SMALL, "encoder.dtype=float32"]), tmp_path / "run", resume=True)


def test_cross_scoring_runs_with_a_task_without_context(tmp_path: Path) -> None:
    config = load_config("starter-cross", [*SMALL, "run.regimes=[zero-shot]"])
    results = start(config, tmp_path / "run")
    assert {(r["method"], r["n"]) for r in results["rows"]} == {("similarity", 84), ("ctml", 84)}


def test_adapters_in_every_layer_leave_nothing_but_the_embeddings_to_cache(tmp_path: Path) -> None:
    config = load_config("starter", [*SMALL, "run.regimes=[zero-shot]", "adapters.layers=all"])
    said = io.StringIO()
    run(config, tmp_path / "run", progress=Progress(Console(file=said), quiet=True))
    assert "adapters in layers [0, 1, 2]" in said.getvalue()
    assert "holds nothing but the embeddings" in said.getvalue()


@pytest.mark.parametrize(
    ("words", "says", "stack"),
    [
        (["adapters.kind=full"], "all weights of layers [1, 2]", "all weights"),
        (
            ["adapters.kind=none", "adapters.layers=top-third", "ctml.alignment=0"],
            "no task adapter: the scorer alone is trained",
            "no task adapter",
        ),
    ],
)
def test_a_killed_run_without_small_adapters_ends_with_the_same_bytes(
    toy_encoder: FrozenEncoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    says: str,
    stack: str,
) -> None:
    small = [word for word in SMALL if not word.startswith("adapters.")]
    config = load_config("starter", [*small, *words])
    said = io.StringIO()
    progress = Progress(Console(file=said, width=500), quiet=True)
    results = run(config, tmp_path / "whole", progress=progress)
    assert says in said.getvalue()
    assert {tuple(s) for s in results["shares"]["stack"].values()} == {(stack,)}
    start_and_kill(config, tmp_path / "cut", monkeypatch, 3)
    start(config, tmp_path / "cut", resume=True)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    monkeypatch.setattr("metaxcr.api.load_encoder", lambda name, **options: toy_encoder)
    asked = {"context": "it rained", "choices": ["the street got wet", "the sun shone"], "language": "sw"}
    model = MetaXCR.from_pretrained(tmp_path / "cut")
    copy = model.save_pretrained(tmp_path / "model")
    assert MetaXCR.from_pretrained(copy).rank(**asked) == model.rank(**asked)
    assert f"adapters, from below: {stack}" in (copy / "README.md").read_text()


def test_another_system_can_be_given_the_same_shots(whole: Path, tmp_path: Path) -> None:
    """With the ids of the first run, the same parameters; from other kinds of files, the same results."""
    drawn = json.loads((whole / "shots" / "starter_target.seed3.json").read_text())
    lines = tmp_path / "ids.txt"
    lines.write_text("\n".join(drawn["ids"]))
    results = []
    for name, file in (("folder", whole), ("lines", lines)):
        said = io.StringIO()
        config = load_config("starter", [*SMALL, f"target.shots_file={file}", "target.k=4"])
        progress = Progress(Console(file=said, width=500), quiet=True)
        results.append(run(config, tmp_path / name, progress=progress))
        assert f"shots from {file}: k = 16, target.k = 4 is ignored" in said.getvalue()
        assert json.loads((tmp_path / name / "shots" / "starter_target.seed3.json").read_text()) == drawn
        state = "checkpoints/few-shot.sw.seed3.safetensors"
        assert (tmp_path / name / state).read_bytes() == (whole / state).read_bytes()
    assert results[0] == results[1]
    first = json.loads((whole / "results.json").read_text())
    assert results[0]["rows"] == first["rows"]  # k and total_labels are those of the file, 16
    assert results[0]["config_hash"] != first["config_hash"]


def test_a_folder_keeps_its_shots(tmp_path: Path) -> None:
    file = tmp_path / "ids.json"
    ids = [e.id for e in load("starter_target", "shots", language="it").examples]
    file.write_text(json.dumps(ids[:8]))
    config = load_config("starter", [*SMALL, f"target.shots_file={file}"])
    start(config, tmp_path / "run", phases=("train",))
    file.write_text(json.dumps(ids[1:9]))
    with pytest.raises(UserError, match="other shots"):
        start(config, tmp_path / "run", resume=True)
    file.write_text(json.dumps(ids[:8]))
    results = start(config, tmp_path / "run", resume=True)
    assert {r["k"] for r in results["rows"]} == {0, 8}


def test_allowed_leaks_are_told_wherever_results_are_read(tmp_path: Path) -> None:
    aux = "target.auxiliary={task: starter_target, split: test, languages: [fr, es]}"
    settings = [*SMALL, aux, "run.regimes=[zero-shot, zero-shot-aux]", "clml.steps=2"]
    with pytest.raises(UserError, match="--allow-leaks") as error:
        start(load_config("starter", settings), tmp_path / "run")
    assert str(error.value).count("(same item id)") == 5 and not (tmp_path / "run").exists()
    config = load_config("starter", [*settings, "run.allow_leaks=true"])
    said = io.StringIO()
    results = run(config, tmp_path / "run", progress=Progress(Console(file=said, width=500), quiet=True))
    leaks = results["shares"]["leaks"]
    assert leaks["count"] == leaks["kinds"]["same item id"] == 168 and len(leaks["pairs"]) == 20
    assert "LEAKS ALLOWED: 168 training examples are also held out (same item id 168)" in said.getvalue()
    page = write_report(tmp_path / "run").read_text()
    assert "leaks allowed" in page and page.count("starter_target/fr/") == 20
    card = model_card(config, tmp_path / "run", ["fr"])
    assert "Trained on 168 development or test items" in card and leaks["pairs"][19] in card


def test_without_shots_nothing_is_missing(tmp_path: Path) -> None:
    config = load_config("starter", [*SMALL, "run.regimes=[zero-shot]"])
    start(config, tmp_path / "run")
    assert not (tmp_path / "run" / "shots").exists()
    assert "shots/ is missing" not in write_report(tmp_path / "run").read_text()


ALL = [  # everything that CLML can do at once: two languages, one of them also auxiliary
    *("run.regimes=[zero-shot, zero-shot-aux, few-shot, pooled-shots]", "target.languages=[sw, it]"),
    "target.auxiliary={task: xstorycloze, split: train, languages: [es, sw, eu, ru], nearest: 2}",
    *("clml.per_language=true", "clml.languages=reinforce", "ctml.reward_data=shots"),
]


def permute_labels(folder: Path, language: str, shots: set[str]) -> None:
    """Permute the labels of XCOPA's files outside of the shots, in place."""
    for split in ("val", "test"):
        path = folder / f"{split}.{language}.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        free = [r for r in rows if f"{split}-{r['idx']}" not in shots]
        labels = np.random.default_rng(0).permutation([r["label"] for r in free]).tolist()
        assert labels != [r["label"] for r in free]
        for row, label in zip(free, labels, strict=True):
            row["label"] = label
        path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")


@pytest.mark.real
@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(["target.languages=[sw]"], id="plain"),
        pytest.param(ALL, marks=pytest.mark.slow, id="all"),
    ],
)
def test_permuted_labels_change_nothing_but_accuracy(
    data_root: Path, tmp_path: Path, variant: list[str]
) -> None:
    """With every label outside the shots permuted, parameters and probabilities stay byte-identical."""
    overrides = "target.parallel.languages=[sw] clml.steps=4 evaluate.english=null adapters.layers=top-third"
    sources = "sources=[{task: codah, cap: 64}]"
    config = load_config("xcopa-embedded", [*SMALL, *overrides.split(), sources, *variant])
    permuted = tmp_path / "data"
    for name in ("codah", "copa", "xcopa", "xstorycloze", "flores200"):
        shutil.copytree(data_root / name, permuted / name)
    shots = set(draw_shots(load("xcopa", "val", language="sw", root=data_root).examples, 16, seed=3))
    for language in config.target.languages:
        permute_labels(permuted / "xcopa" / "data" / language, language, shots)
    official = data_root.resolve()
    ledger = tmp_path / "ledger" / "test-openings.jsonl"
    start(config, tmp_path / "one", root=official, ledger=ledger)
    start(config, tmp_path / "two", root=permuted, ledger=ledger)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert [json.loads(line)["task"] for line in ledger.read_text().splitlines()] == ["xcopa", "xcopa"]
    same = [name for name in one if name.endswith(".safetensors") or name in ("events.jsonl", "config.yaml")]
    assert len(same) > 5 and all(one[name] == two[name] for name in same)
    for name in (n for n in one if n.startswith("predictions/") and "meta" not in n):
        lines = [[json.loads(x) for x in side[name].splitlines()] for side in (one, two)]
        assert [x["probabilities"] for x in lines[0]] == [x["probabilities"] for x in lines[1]]
    assert one["results.json"] != two["results.json"]


def test_sources_that_are_wrong_on_purpose_are_named_everywhere(tmp_path: Path) -> None:
    sources = "sources=[{task: starter_social}, {task: starter_social, labels: flipped}]"
    out, said = tmp_path / "run", io.StringIO()
    config = load_config("starter", [*SMALL, sources, "run.regimes=[zero-shot]"])

    results = run(config, out, progress=Progress(Console(file=said, width=200), quiet=False))

    assert results["shares"]["mislabelled"] == {"starter_social:flipped": "flipped"}
    assert "LABELS WRONG ON PURPOSE: starter_social:flipped" in said.getvalue()
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert {name for e in events for name in e["probabilities"]} >= {
        "starter_social:flipped",
        "starter_social",
    }
