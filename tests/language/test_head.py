"""Heads: BERT's transform with a tied decoder, and an encoder's own."""

import torch
from torch.testing import assert_close
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertLMPredictionHead

from metaxcr.language.head import EPS, OwnHead, TiedHead

ROWS = torch.tensor([5, 2, 9])


def test_it_computes_what_berts_head_computes_and_its_decoder_is_the_embeddings() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings, hidden = (torch.randn(n, 8, generator=generator) for n in (12, 4))
    ours = TiedHead(embeddings, ROWS)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    config = BertConfig(vocab_size=12, hidden_size=8, num_attention_heads=2, layer_norm_eps=EPS)
    theirs = BertLMPredictionHead(config)
    theirs.transform.dense.load_state_dict(ours.dense.state_dict())
    theirs.transform.LayerNorm.load_state_dict(ours.norm.state_dict())
    bias = torch.zeros(12).index_copy(0, ROWS, ours.bias.detach())
    theirs.decoder.weight.data, theirs.bias.data, theirs.decoder.bias.data = embeddings, bias, bias
    assert_close(ours(hidden), theirs(hidden)[:, ROWS], rtol=1e-5, atol=1e-5)


def test_the_decoder_is_not_trained() -> None:
    head = TiedHead(torch.randn(12, 8), ROWS)
    trained = {name for name, p in head.named_parameters() if p.requires_grad}
    assert trained == {"dense.weight", "dense.bias", "norm.weight", "norm.bias", "bias"}
    head(torch.randn(2, 8)).sum().backward()
    assert head.decoder.grad is None and head(torch.randn(2, 8, dtype=torch.bfloat16)).dtype == torch.float32


def test_an_own_head_is_frozen_and_cut_to_the_rows() -> None:
    linear = torch.nn.Linear(8, 12)
    head, hidden = OwnHead(linear, ROWS), torch.randn(2, 8)
    assert_close(head(hidden), linear(hidden)[:, ROWS])
    assert not any(p.requires_grad for p in head.parameters())
