"""Equality with the `adapters` library 1.3.0, layer by layer; see `reference/make_reference.py`."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

from metaxcr.adapters.adapted_encoder import AdaptedEncoder
from metaxcr.adapters.adapter_files import build_for, load_language, read_adapter
from metaxcr.adapters.adapterhub import from_hub
from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.adapters.layers import AdapterShape
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import FrozenEncoder, Ragged, Text, TokenizedText
from metaxcr.encoders.layer import AdapterStack
from metaxcr.encoders.loading import wrap
from metaxcr.errors import UserError

REFERENCE = Path(__file__).parent / "reference"
CASES = sorted(path.parent.name for path in REFERENCE.glob("*/reference.safetensors"))
SIZES = {
    "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
    "intermediate_size": 24,
}  # fmt: skip
TOLERANCE = 1e-5  # relative to the largest value of a tensor


def encoder_of(case: str, reference: dict[str, Tensor]) -> FrozenEncoder:
    if case.startswith("bert"):
        model = BertModel(BertConfig(max_position_embeddings=32, **SIZES), add_pooling_layer=False)
    else:
        config = XLMRobertaConfig(max_position_embeddings=34, type_vocab_size=1, pad_token_id=1, **SIZES)
        model = XLMRobertaModel(config, add_pooling_layer=False)
    weights = {k.removeprefix("model."): t for k, t in reference.items() if k.startswith("model.")}
    missing = model.load_state_dict(weights, strict=False)
    assert not missing.missing_keys
    return wrap("reference", model, Ids(), prefix="", fingerprint=case)


class Ids:
    """Numbers in a text are its token ids."""

    def __call__(self, texts: list[Text], max_tokens: int) -> list[TokenizedText]:
        rows = [[int(word) for word in text.first.split()] for text in texts]
        return [TokenizedText(ids, [0] * len(ids), len(ids)) for ids in rows]


def texts_of(reference: dict[str, Tensor]) -> list[Text]:
    rows = zip(reference["ids"], reference["mask"], strict=True)
    return [Text(" ".join(str(int(i)) for i in ids[mask.bool()])) for ids, mask in rows]


def close(ours: Tensor, theirs: Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max())


def layers_by_hand(
    encoder: FrozenEncoder, language: LanguageAdapter | None, task: dict, embedded: Ragged
) -> list[Tensor]:
    """Activations after the embeddings and every layer."""
    hidden = embedded.hidden
    if language is not None and language.invertible is not None:
        hidden = language.invertible(hidden)
    hidden, context = encoder.enter(Ragged(hidden, embedded.lengths), torch.float32)
    states = [hidden]
    for index in range(encoder.depth):
        stack = [language.by_layer[index]] if language is not None else []
        stack = [a for a in [*stack, task.get(index)] if a is not None]
        states.append(encoder.layer(index, torch.float32)(states[-1], context, AdapterStack(stack)))
    return [state[: len(embedded.hidden)] for state in states]


@pytest.mark.parametrize("case", CASES)
def test_activations_and_gradients_equal_the_librarys_in_every_layer(case: str) -> None:
    reference = load_file(REFERENCE / case / "reference.safetensors")
    encoder = encoder_of(case, reference)
    folder = REFERENCE / case / "copa"
    task_file = read_adapter(folder)
    task = build_for(task_file, encoder, folder)
    language = load_language(REFERENCE / case / "sw", encoder) if (REFERENCE / case / "sw").is_dir() else None
    embedded = encoder.embed(encoder.tokenize(texts_of(reference), 32))
    states = layers_by_hand(encoder, language, task, embedded)
    for i, state in enumerate(states):
        assert close(state, reference[f"hidden.{i}"]), f"layer {i}"
    (states[-1] * reference["weights"]).sum().backward()
    theirs = {k.removeprefix("grad."): t for k, t in reference.items() if k.startswith("grad.")}
    compared, own = 0, language.by_layer if language else {}
    for name, kind, modules, invertible in (
        ("copa", task_file.config.shape.kind, task, None),
        ("sw", own[1].shape.kind if own else "", own, language and language.invertible),
    ):
        part = {k: t for k, t in theirs.items() if f".{name}." in k}
        if not part:
            continue
        layers, front = from_hub(kind, name, part, case, encoder.family.adapters_at)
        for index, parameters in layers.items():
            for parameter, gradient in parameters.items():
                assert close(modules[index].get_parameter(parameter).grad, gradient), (name, index, parameter)
                compared += 1
        for parameter, gradient in front.items():
            assert close(invertible.get_parameter(parameter).grad, gradient), (name, parameter)
            compared += 1
    assert compared == len(theirs)


def test_there_is_a_reference_for_every_kind_and_family() -> None:
    assert CASES == [
        "bert-houlsby", "bert-madx", "bert-parallel", "xlmr-houlsby-leave-out", "xlmr-lora", "xlmr-madx",
    ]  # fmt: skip
    assert sum(path.stat().st_size for path in REFERENCE.rglob("*.*")) < 1_000_000


@pytest.mark.parametrize("case", ["bert-madx", "xlmr-madx"])
@pytest.mark.parametrize("start", [0, 1, 2])
def test_the_trunk_and_the_upper_layers_together_equal_the_library(
    case: str, start: int, tmp_path: Path
) -> None:
    """With ``start`` above 0 there are fewer task adapters, so the result is another one."""
    reference = load_file(REFERENCE / case / "reference.safetensors")
    encoder, folder = encoder_of(case, reference), REFERENCE / case
    language = load_language(folder / "sw", encoder)
    task = {i: a for i, a in build_for(read_adapter(folder / "copa"), encoder, folder).items() if i >= start}
    shape = next(iter(task.values())).shape
    adapted = AdaptedEncoder(encoder, sorted(task), shape, torch.Generator(), {"sw": language})
    for i, adapter in task.items():
        adapted.task[str(i)].load_state_dict(adapter.state_dict())
    store = ActivationCache(
        encoder, start, torch.float32, tmp_path, max_tokens=32, languages=adapted.languages
    )
    trunk = store.gather(store.ensure(texts_of(reference), language="sw"))
    out = adapted(trunk, torch.float32, "sw")
    embedded = encoder.embed(encoder.tokenize(texts_of(reference), 32))
    assert close(out, layers_by_hand(encoder, language, task, embedded)[-1])
    assert close(out, reference["hidden.3"]) == (start == 0)


def legacy(folder: Path, role: str) -> None:
    """Rewrite an adapter as the library of 2020 wrote it."""
    name = json.loads((folder / "adapter_config.json").read_text())["name"]
    tensors = load_file(folder / "adapter.safetensors")
    word = {"text_lang": "lang", "text_task": "task"}[role]
    renamed = {}
    for key, tensor in tensors.items():
        key = key.replace("attention.output.adapters", f"attention.output.attention_text_{word}_adapters")
        key = key.replace(".output.adapters", f".output.layer_text_{word}_adapters")
        key = key.replace("invertible_adapters", f"invertible_{word}_adapters")
        renamed[f"bert.{key}"] = tensor
    torch.save(renamed, folder / "pytorch_adapter.bin")
    (folder / "adapter.safetensors").unlink()
    config = {
        "config": {
            "LN_after": False, "LN_before": False, "MH_Adapter": False, "Output_Adapter": True,
            "adapter_residual_before_ln": False, "attention_type": "sent-lvl-dynamic",
            "invertible_adapter": {"block_type": "nice", "non_linearity": "relu", "reduction_factor": 2},
            "new_attention_norm": False, "non_linearity": "relu", "original_ln_after": True,
            "original_ln_before": True, "reduction_factor": 2 if word == "lang" else 4,
            "residual_before_ln": True,
        },
        "config_id": "9076f36a74755ac4", "hidden_size": 16, "model_class": "BertForMaskedLM",
        "model_name": "bert-base-multilingual-cased", "model_type": "bert", "name": name, "type": role,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))


def test_files_of_2020_give_the_same(tmp_path: Path) -> None:
    """Old tensor names, pickled, the old configuration; the task adapter names a part that it has not."""
    case = "bert-madx"
    shutil.copytree(REFERENCE / case, tmp_path / case)
    for name, role in (("sw", "text_lang"), ("copa", "text_task")):
        legacy(tmp_path / case / name, role)
    reference = load_file(REFERENCE / case / "reference.safetensors")
    encoder = encoder_of(case, reference)
    encoder.name = "bert-base-multilingual-cased"
    language = load_language(tmp_path / case / "sw", encoder)
    task = build_for(read_adapter(tmp_path / case / "copa"), encoder, tmp_path)
    embedded = encoder.embed(encoder.tokenize(texts_of(reference), 32))
    for i, state in enumerate(layers_by_hand(encoder, language, task, embedded)):
        assert close(state, reference[f"hidden.{i}"]), f"layer {i}"


def test_gelu_meant_its_approximation_before_there_were_versions(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE / "xlmr-madx" / "copa", tmp_path / "copa")
    path = tmp_path / "copa" / "adapter_config.json"
    config = json.loads(path.read_text())
    assert read_adapter(tmp_path / "copa").config.shape == AdapterShape("pfeiffer", 4, "gelu")
    del config["version"]
    path.write_text(json.dumps(config))
    assert read_adapter(tmp_path / "copa").config.shape.nonlinearity == "gelu_new"


def test_lora_of_early_versions_was_not_scaled(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE / "xlmr-lora" / "copa", tmp_path / "copa")
    path = tmp_path / "copa" / "adapter_config.json"
    config = json.loads(path.read_text())
    assert read_adapter(tmp_path / "copa").config.shape == AdapterShape("lora", 4, "relu", 2.0)
    path.write_text(json.dumps(config | {"version": "adapters.1.0.1"}))
    assert read_adapter(tmp_path / "copa").config.shape.scaling == 1.0


def test_an_adapter_of_a_model_with_more_layers_is_refused(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE / "bert-madx" / "copa", tmp_path / "copa")
    path = tmp_path / "copa" / "adapter.safetensors"
    tensors = load_file(path)
    save_file(tensors | {k.replace(".2.", ".3."): t.clone() for k, t in tensors.items()}, path)
    encoder = encoder_of("bert-madx", load_file(REFERENCE / "bert-madx" / "reference.safetensors"))
    with pytest.raises(UserError, match=r"weights in layers \[0, 1, 2, 3\], not in \[0, 1, 2\]"):
        build_for(read_adapter(tmp_path / "copa"), encoder, tmp_path)
