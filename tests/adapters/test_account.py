"""The parameter account."""

import torch
from transformers import BertConfig, BertModel

from metaxcr.adapters.account import parameter_account
from metaxcr.adapters.bottleneck import Bottleneck
from metaxcr.encoders.base import FrozenEncoder
from metaxcr.encoders.load import wrap


def test_account_of_the_paper(toy_encoder: FrozenEncoder) -> None:
    """M-BERT's size, bottleneck 154 in all 12 layers: the 1.6 % of the paper."""
    with torch.device("meta"):
        model = BertModel(BertConfig(vocab_size=119547))
    # The encoder's tensors need no storage to be counted.
    encoder = wrap("mbert", model, toy_encoder.tokenizer, prefix="", fingerprint="")
    bottleneck = Bottleneck(768, 154, "relu", torch.Generator())
    trained = 12 * sum(p.numel() for p in bottleneck.parameters())
    account = parameter_account(trained, encoder)
    assert account == {
        "trained": 2_849_592,
        "encoder": 177_853_440,
        "share": 0.016022,
        "share_without_embeddings": round(2_849_592 / (177_853_440 - 92_209_152), 6),
    }


def test_account_without_embeddings(toy_encoder: FrozenEncoder) -> None:
    embeddings = 128 * 16 + 64 * 16 + 2 * 16 + 2 * 16
    layer = 4 * (16 * 16 + 16) + 2 * 16 * 32 + 32 + 16 + 4 * 16
    account = parameter_account(100, toy_encoder)
    assert account["encoder"] == embeddings + 3 * layer
    assert account["share_without_embeddings"] == round(100 / (3 * layer), 6)
