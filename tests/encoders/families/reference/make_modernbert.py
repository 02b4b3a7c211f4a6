"""What the `adapters` library computes on a small ModernBERT: ``modernbert.safetensors`` beside this file.

Run it in an environment of its own: adapters==1.3.0, which pins transformers 4.57, torch and safetensors.
"""

from pathlib import Path

import torch
from adapters.composition import Stack
from safetensors.torch import save_file
from transformers import ModernBertConfig, ModernBertModel

import adapters
from adapters import DoubleSeqBnConfig, ParBnConfig, SeqBnConfig

special = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0)
config = ModernBertConfig(
    vocab_size=16,
    hidden_size=16,
    num_hidden_layers=3,
    num_attention_heads=2,
    intermediate_size=24,
    local_attention=4,
    global_rope_theta=1000.0,
    local_rope_theta=10.0,
    max_position_embeddings=32,
    **special,
)
config._attn_implementation = "eager"
torch.manual_seed(0)
model = ModernBertModel(config)
adapters.init(model)
model.add_adapter("one", config=SeqBnConfig(reduction_factor=4))
model.add_adapter("two", config=SeqBnConfig(reduction_factor=8))
model.add_adapter("houlsby", config=DoubleSeqBnConfig(reduction_factor=8))
model.add_adapter("parallel", config=ParBnConfig(reduction_factor=8))
for name, parameter in model.named_parameters():
    parameter.data.add_(torch.randn_like(parameter) * 0.1)
    if name.endswith("Wqkv.bias"):  # which only the library's wrapper of the module has
        parameter.data.zero_()
model.eval()
ids = torch.randint(0, 16, (1, 12))
tensors = {f"state.{name}": t.contiguous() for name, t in model.state_dict().items()}
tensors["ids"] = ids
setups = {"none": None, "stack": Stack("one", "two"), "houlsby": "houlsby", "parallel": "parallel"}
for name, setup in setups.items():
    model.set_active_adapters(setup)
    with torch.no_grad():
        tensors[f"out.{name}"] = model(input_ids=ids).last_hidden_state[0].contiguous()
save_file(tensors, Path(__file__).with_name("modernbert.safetensors"))
