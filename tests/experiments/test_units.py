"""What a run consists of, unit by unit, and which settings are refused because nothing would use them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from metaxcr.config import Config
from metaxcr.config_io import load_config
from metaxcr.encoders.base import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.experiments.progress import Progress
from metaxcr.experiments.run import run
from metaxcr.experiments.units import check_regimes

SMALL = [
    *("run.seeds=[3]", "run.checkpoint_every=1", "run.threads=1", "encoder.max_tokens=64"),
    *("target.languages=[sw, it]", "target.parallel.languages=[sw, it]", "adapters.bottleneck=8"),
    *("ctml.steps=2", "ctml.support=4", "ctml.query=4", "ctml.reward=4", "ctml.pairs=4", "sampler.window=2"),
    *("clml.steps=6", "clml.few_shot_steps=3", "clml.support=4", "clml.query=4", "clml.reward=4"),
    *("finetune.steps=2", "finetune.batch=4"),
]
# the items that shots come from may also teach in other languages here: nothing of them is evaluated
AUX = "target.auxiliary={{task: starter_target, split: shots, languages: [{}]}}"


@pytest.fixture(scope="module", autouse=True)
def toy_runs(tmp_path_factory: pytest.TempPathFactory, toy_encoder: FrozenEncoder) -> Iterator[None]:
    """All runs of this file use a random toy encoder and share one trunk cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METAXCR_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("metaxcr.experiments.run.load_encoder", lambda name, **options: toy_encoder)
        yield


def start(config: Config, out: Path, **options: Any) -> dict[str, Any]:
    return run(config, out, progress=Progress(Console(quiet=True), quiet=True), **options)


def small(*overrides: str) -> Config:
    return load_config("starter", [*SMALL, *overrides])


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
    from metaxcr.experiments import prepare

    config = small("run.regimes=[zero-shot-aux]", AUX.format("sw, fr, es"), "clml.cross_task=0")
    start(config, tmp_path / "one")
    encode = prepare.encode_task

    def wrong(examples, *args, **options):
        data = encode(examples, *args, **options)
        if data.language == "sw" and len(data) == 36:
            data.questions.labels.copy_(1 - data.questions.labels)
        return data

    monkeypatch.setattr(prepare, "encode_task", wrong)
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

    from metaxcr.experiments.folder import RunFolder

    checkpoint = RunFolder.checkpoint

    def killed(self: RunFolder, unit: str, step: int, state: dict[str, torch.Tensor]) -> None:
        checkpoint(self, unit, step, state)
        if unit.startswith("clml") and step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "checkpoint", killed)
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
