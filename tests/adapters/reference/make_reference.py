"""Make the reference activations that our adapters are compared with: run by the `adapters` library itself.

The library needs an older `transformers` than this package, so this runs in an environment of its own:

    python -m venv reference && reference/bin/pip install torch==2.13.0 'transformers==4.57.*' adapters==1.3.0
    reference/bin/python tests/adapters/reference/make_reference.py            # writes the folders beside it
    reference/bin/python tests/adapters/reference/make_reference.py --check DIR   # DIR: an exported adapter

For each case a folder gets the adapters as the library saves them, and `reference.safetensors` with the
model's weights, the inputs, the output of the embeddings and of every layer, and the gradients of a fixed
linear function of the last one.

With `--check`, adapters that `metaxcr adapters export` wrote to DIR/CASE/NAME are loaded, and everything must
equal what the library's own gave.
"""

import argparse
import json
import logging
from pathlib import Path

import torch
from adapters.composition import Stack
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

import adapters

HERE = Path(__file__).parent
SIZES = {
    "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
    "intermediate_size": 24, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
LANGUAGE = adapters.SeqBnInvConfig(reduction_factor=2)
CASES = {  # name -> (model, language adapter, task adapter)
    "bert-madx": ("bert", LANGUAGE, adapters.SeqBnConfig(reduction_factor=4)),
    "xlmr-madx": ("xlmr", LANGUAGE, adapters.SeqBnConfig(reduction_factor=4, non_linearity="gelu")),
    "bert-houlsby": ("bert", LANGUAGE, adapters.DoubleSeqBnConfig(reduction_factor=4)),
    "xlmr-houlsby-leave-out": (
        "xlmr", adapters.DoubleSeqBnInvConfig(reduction_factor=2), adapters.DoubleSeqBnConfig(leave_out=[0]),
    ),
    "bert-parallel": ("bert", None, adapters.ParBnConfig(reduction_factor=4)),
    "xlmr-lora": ("xlmr", LANGUAGE, adapters.LoRAConfig(r=4, alpha=8)),
}  # fmt: skip


def build(kind: str) -> torch.nn.Module:
    """A random model with biases and LayerNorms that are no defaults."""
    torch.manual_seed(0)
    if kind == "bert":
        model = BertModel(BertConfig(max_position_embeddings=32, **SIZES), add_pooling_layer=False)
    else:
        config = XLMRobertaConfig(max_position_embeddings=34, type_vocab_size=1, pad_token_id=1, **SIZES)
        model = XLMRobertaModel(config, add_pooling_layer=False)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    adapters.init(model)
    return model.eval()


def randomise(model: torch.nn.Module, name: str) -> None:
    """Give an adapter weights that matter: fresh ones add nearly nothing."""
    generator = torch.Generator().manual_seed(len(name))
    for key, parameter in model.named_parameters():
        if f".{name}." in key:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3


def run(model: torch.nn.Module, names: list[str]) -> dict[str, torch.Tensor]:
    """Activations after the embeddings and every layer, and the gradients of the task adapter (the last)."""
    model.set_active_adapters(Stack(*names))
    for key, parameter in model.named_parameters():
        parameter.requires_grad_(any(f".{name}." in key for name in names))
        parameter.grad = None
    ids = torch.tensor([[3, 7, 11, 20, 5, 9], [4, 8, 15, 16, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    out = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    weights = torch.randn(out.last_hidden_state.shape, generator=torch.Generator().manual_seed(9))
    (out.last_hidden_state * weights * mask[..., None]).sum().backward()
    found = {f"hidden.{i}": h.detach()[mask.bool()].contiguous() for i, h in enumerate(out.hidden_states)}
    found |= {"ids": ids, "mask": mask, "weights": weights[mask.bool()].contiguous()}
    grads = {f"grad.{k}": p.grad.clone() for k, p in model.named_parameters() if p.grad is not None}
    return found | grads


def make(case: str) -> None:
    """Write one case's folder."""
    kind, language, task = CASES[case]
    model, folder, names = build(kind), HERE / case, []
    folder.mkdir(exist_ok=True)
    weights = {f"model.{k}": v.clone() for k, v in build(kind).state_dict().items() if "adapter" not in k}
    for name, config in (("sw", language), ("copa", task)):
        if config is None:
            continue
        model.add_adapter(name, config=config)
        randomise(model, name)
        model.save_adapter(str(folder / name), name, use_safetensors=True)
        names.append(name)
    tensors = weights | run(model, names)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "reference.safetensors")
    print(case, sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()), "bytes")


def check(exported: Path) -> None:
    """Load what this package exported, for every case that is there: `DIR/<case>/<adapter>`."""
    for case in sorted(p.name for p in exported.iterdir()):
        model, names = build(CASES[case][0]), []
        for name in ("sw", "copa"):
            if (exported / case / name).is_dir():
                names.append(model.load_adapter(str(exported / case / name), set_active=False))
        expected, found = load_file(HERE / case / "reference.safetensors"), run(model, names)
        for key in sorted(found):
            size = expected[key].abs().max()
            gap = float((found[key] - expected[key]).abs().max() / size) if size else 0.0
            assert gap < 1e-6, (case, key, gap)
        print(json.dumps({"case": case, "adapters": names, "tensors": len(found), "equal": True}))


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", type=Path)
    arguments = parser.parse_args()
    if arguments.check:
        check(arguments.check)
    else:
        for case in CASES:
            make(case)
