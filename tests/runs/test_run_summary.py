"""What a run says of itself: parameters, counted as they are built, and what its data hold."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import AutoConfig, AutoModel

from metaxcr.adapters.adapter_files import save_language
from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.config.io import load_config
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.encoders.loading import encoder_shape, wrap
from metaxcr.encoders.shapes import known_encoder
from metaxcr.model.build import build_model
from metaxcr.runs.progress import Progress
from metaxcr.runs.run_data import RunData
from metaxcr.runs.run_summary import _announce_data, parameter_count
from metaxcr.training.batch_sampler import English


def true_size(name: str, encoder: FrozenEncoder) -> FrozenEncoder:
    """The real model's layers and embeddings, of the true size, without storage."""
    known = known_encoder(name)
    assert known is not None
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(**known.config))
    return wrap(name, model, encoder.tokenizer, prefix="", fingerprint="")


@pytest.mark.parametrize(
    ("preset", "adapters", "mixture", "share"),
    [("paper", 2_849_592, 0, 0.0160), ("paper-xlmr", 5 * 894_528, 60, 0.0161)],
)
def test_the_papers_share_counted_on_the_true_size_model(
    toy_encoder: FrozenEncoder, preset: str, adapters: int, mixture: int, share: float
) -> None:
    config = load_config(preset)
    encoder = true_size(config.encoder.name, toy_encoder)
    phi = build_model(config, encoder, 0).params()
    counted = {
        "task adapters": sum(p.numel() for n, p in phi.items() if ".task." in n and "logits" not in n),
        "mixture": sum(p.numel() for n, p in phi.items() if n.endswith("logits")),
        "scorer": phi["scorer"].numel(),
    }
    assert counted == {"task adapters": adapters, "mixture": mixture, "scorer": 768}
    for sized in (encoder, encoder_shape(config.encoder.name)):  # with the model, and offline without it
        account = parameter_count(config, sized)
        assert account["trained"] == sum(counted.values())
        assert round(account["share"], 4) == share
        assert account["encoder"] == {"paper": 177_853_440, "paper-xlmr": 278_043_648}[preset]
        body = account["encoder"] - account["embeddings"]
        assert account["share_without_embeddings"] == round(account["trained"] / body, 6)
        assert {s["stage"]: s["trained"] for s in account["stages"]} == dict.fromkeys(
            ("ctml", "clml", "finetune"), account["trained"]
        )
    text = Path(load_config.__code__.co_filename).with_name("presets") / f"{preset}.yaml"
    assert "Assumptions" in text.read_text(encoding="utf-8")


def test_the_adapters_alone_are_the_share_that_the_design_names() -> None:
    known = {
        name: encoder_shape(name).parameters for name in ("bert-base-multilingual-cased", "xlm-roberta-base")
    }
    assert round(2_849_592 / known["bert-base-multilingual-cased"], 5) == 0.01602
    assert round(5 * 894_528 / known["xlm-roberta-base"], 4) == 0.0161


@pytest.mark.parametrize("kind", ["pfeiffer", "houlsby", "parallel", "lora"])
@pytest.mark.parametrize("scoring", ["dual", "cross"])
@pytest.mark.parametrize("mixture", ["true", "false"])
def test_it_equals_what_is_built(toy_encoder: FrozenEncoder, kind: str, scoring: str, mixture: str) -> None:
    words = [f"adapters.kind={kind}", f"scoring.kind={scoring}", f"adapters.mixture={mixture}"]
    config = load_config("starter", [*words, "adapters.bottleneck=5", "adapters.layers=[0, 2]"])
    account = parameter_count(config, toy_encoder)
    phi = build_model(config, toy_encoder, 0).params()
    assert account["trained"] == sum(p.numel() for p in phi.values())
    assert ("mixture" in account["stages"][0]["parts"]) == (mixture == "true")


@pytest.mark.parametrize("layers", ["top-third", "all", "[0, 2]"])
@pytest.mark.parametrize("scoring", ["dual", "cross"])
def test_full_fine_tuning_is_counted_as_built(toy_encoder: FrozenEncoder, layers: str, scoring: str) -> None:
    words = ["adapters.kind=full", f"adapters.layers={layers}", f"scoring.kind={scoring}"]
    config = load_config("starter", words)
    account = parameter_count(config, toy_encoder)
    phi = build_model(config, toy_encoder, 0).params()
    assert account["trained"] == sum(p.numel() for p in phi.values())
    head = 16 * 16 if scoring == "dual" else 16
    layer = 4 * (16 * 16 + 16) + 2 * 16 * 32 + 32 + 16 + 4 * 16
    tuned = {"top-third": 1, "all": 3, "[0, 2]": 2}[layers] * layer
    assert account["stages"][0]["parts"] == {"weights of layers": tuned, "scorer": head}
    assert account["share_without_embeddings"] == round((tuned + head) / (3 * layer), 6)


@pytest.mark.parametrize("name", ["xlm-roberta-base", "mdeberta-v3-base", "mmBERT-small", "embedded"])
def test_full_fine_tuning_is_counted_offline_as_with_the_model(toy_encoder: FrozenEncoder, name: str) -> None:
    """mDeBERTa's vectors of relative positions are embeddings: no layer has them."""
    config = load_config("starter", ["adapters.kind=full", "adapters.layers=all"])
    account = parameter_count(config, encoder_shape(name))
    encoder = true_size(name, toy_encoder)
    assert account["trained"] == parameter_count(config, encoder)["trained"]
    phi = build_model(config, encoder, 0).params()
    assert account["trained"] == sum(p.numel() for p in phi.values())
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(**known_encoder(name).config))
    parts = model.layers if hasattr(model, "layers") else model.encoder.layer
    own = sum(p.numel() for p in parts.parameters())
    own += sum(p.numel() for p in model.final_norm.parameters()) if hasattr(model, "final_norm") else 0
    assert account["stages"][0]["parts"]["weights of layers"] == own


def test_without_adapters_the_scorer_alone_counts(toy_encoder: FrozenEncoder) -> None:
    words = ["adapters.kind=none", "adapters.layers=top-third", "ctml.alignment=0"]
    config = load_config("starter", words)
    account = parameter_count(config, toy_encoder)
    assert account["stages"][0]["parts"] == {"scorer": 256}
    assert list(build_model(config, toy_encoder, 0).params()) == ["scorer"]


def test_stages_are_those_that_train(toy_encoder: FrozenEncoder) -> None:
    def stages(*words: str) -> list[str]:
        account = parameter_count(load_config("starter", words), toy_encoder)
        return [stage["stage"] for stage in account["stages"]]

    assert stages() == ["ctml", "clml", "finetune"]
    assert stages("run.regimes=[zero-shot]") == ["ctml"]
    assert stages("run.regimes=[zero-shot, zero-shot-aux]") == ["ctml"]  # there are no auxiliary data
    assert stages("finetune.steps=0") == ["ctml", "clml"]


def test_learned_rates_are_counted_in_the_stage_that_learns_them(toy_encoder: FrozenEncoder) -> None:
    account = parameter_count(load_config("starter", ["ctml.learner=meta-sgd"]), toy_encoder)
    ctml, clml, _ = account["stages"]
    assert ctml["parts"]["learned rates"] == account["trained"] == clml["trained"]
    assert ctml["trained"] == 2 * account["trained"]


def test_language_adapters_are_frozen(toy_encoder: FrozenEncoder, tmp_path: Path) -> None:
    adapter = LanguageAdapter.create(toy_encoder, torch.Generator())
    save_language(tmp_path / "sw", "sw", adapter, toy_encoder)
    config = load_config("starter", [f"adapters.language={{sw: {tmp_path / 'sw'}}}"])
    account = parameter_count(config, toy_encoder)
    assert account["trained"] == parameter_count(load_config("starter"), toy_encoder)["trained"]
    assert adapter.invertible is not None
    inverse = sum(p.numel() for p in adapter.invertible.parameters())
    assert account["frozen"] == {
        "language adapters": sum(p.numel() for p in adapter.parameters()) - inverse,
        "invertible adapters": inverse,
    }


def test_the_shares_denominator_has_no_adapters(toy_encoder: FrozenEncoder) -> None:
    embeddings = 128 * 16 + 64 * 16 + 2 * 16 + 2 * 16
    layer = 4 * (16 * 16 + 16) + 2 * 16 * 32 + 32 + 16 + 4 * 16
    account = parameter_count(load_config("starter"), toy_encoder)
    assert account["encoder"] == embeddings + 3 * layer
    assert account["share"] == round(account["trained"] / (embeddings + 3 * layer), 6)
    assert account["share_without_embeddings"] == round(account["trained"] / (3 * layer), 6)


def said(english: English, changes: list[str], **data: object) -> str:
    log = io.StringIO()
    progress = Progress(Console(file=log, width=200))
    _announce_data(load_config("starter", changes), RunData(english, **data), progress)  # type: ignore[arg-type]
    return log.getvalue()


@pytest.mark.parametrize(
    ("alignment", "regimes", "told"),
    [(0.5, "few-shot", True), (0.5, "zero-shot", False), (0.0, "few-shot", False)],
)
def test_alignment_that_shots_do_not_use_is_not_dropped_silently(
    english: English, alignment: float, regimes: str, told: bool
) -> None:
    line = "clml.alignment is not used in few-shot"
    words = [f"clml.alignment={alignment}", f"run.regimes=[{regimes}]"]
    assert (line in said(english, words)) == told


def test_alignment_without_text_is_not_dropped_silently(english: English) -> None:
    line = "ctml.alignment is not used: there is no parallel text"
    assert line in said(english, ["ctml.alignment=0.5", "target.parallel=null"])
    assert line not in said(english, ["ctml.alignment=0.5"])


def test_repairs_and_rows_left_out_are_counted(english: English) -> None:
    text = said(english, [], repaired={"b": 2, "a": 1}, skipped={"c": 1000})
    assert "repaired rows: a 1, b 2" in text
    assert "rows left out: c 1,000" in text


def test_wrong_labels_are_told(english: English) -> None:
    text = said(english, ["sources=[{task: starter_social, labels: flipped}]"])
    assert "LABELS WRONG ON PURPOSE: starter_social:flipped" in text
