"""Load an encoder: the embedded one, or any of the BERT and XLM-R families by hub name or folder."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer

from metaxcr.encoders import embedded
from metaxcr.encoders.base import FrozenEncoder, FrozenLayer, Text, TokenizedText, Tokenizer
from metaxcr.errors import UserError

EMBEDDED = "embedded"
# Families with BERT's post-LayerNorm layer. The value says whether positions start after the padding index.
FAMILIES = {"bert": False, "roberta": True, "xlm-roberta": True, "camembert": True}


class HubTokenizer:
    """A ``transformers`` tokenizer behind this package's protocol.

    Args:
        tokenizer: A loaded tokenizer; pairs are cut at the end of their first segment.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        """See :class:`metaxcr.encoders.base.Tokenizer`."""
        tokenized: list[TokenizedText | None] = [None] * len(texts)
        for paired in (False, True):  # a tokenizer call takes either single texts or pairs
            rows = [i for i, t in enumerate(texts) if (t.second is not None) == paired]
            if not rows:
                continue
            first = [texts[i].first for i in rows]
            second = [texts[i].second for i in rows] if paired else None
            full = self._tokenizer(first, second, truncation=False, verbose=False)["input_ids"]
            cut = self._tokenizer(
                first, second, truncation="only_first", max_length=max_tokens, return_token_type_ids=True
            )
            for row, ids, segments, whole in zip(rows, cut["input_ids"], cut["token_type_ids"], full, strict=True):
                tokenized[row] = TokenizedText(list(ids), list(segments), len(whole))
        return [t for t in tokenized if t is not None]


def wrap(name: str, model: nn.Module, tokenizer: Tokenizer, *, prefix: str, fingerprint: str) -> FrozenEncoder:
    """Take a ``transformers`` model of a supported family apart into a :class:`FrozenEncoder`.

    Args:
        name: What to call it in records and messages.
        model: A base model (``BertModel``, ``XLMRobertaModel``, ...).
        tokenizer: Its tokenizer.
        prefix: Written before every text; empty for most encoders.
        fingerprint: Checksum of weights and tokenizer.

    Raises:
        UserError: The model is of another family.
    """
    config: Any = model.config
    family = config.model_type
    if family not in FAMILIES or getattr(config, "position_embedding_type", "absolute") != "absolute":
        raise UserError(
            f"encoder {name!r} is of the family {family!r}",
            "encoder.name",
            f"use one of {', '.join(sorted(FAMILIES))} with absolute positions",
        )
    first = config.pad_token_id + 1 if FAMILIES[family] else 0
    embeddings: nn.Module = model.embeddings  # type: ignore[assignment]
    layers = nn.ModuleList([FrozenLayer(layer) for layer in model.encoder.layer])  # type: ignore[union-attr]
    return FrozenEncoder(
        name=name,
        fingerprint=fingerprint,
        tokenizer=tokenizer,
        embeddings=embeddings.requires_grad_(False).eval(),
        layers=layers.requires_grad_(False).eval(),
        prefix=prefix,
        first_position=first,
        max_positions=config.max_position_embeddings - first,
        parameters=sum(p.numel() for n, p in model.named_parameters() if not n.startswith("pooler")),
        embedding_parameters=sum(p.numel() for p in embeddings.parameters()),
    )


def load_encoder(name: str, *, prefix: str | None = None, revision: str | None = None) -> FrozenEncoder:
    """Load an encoder by name.

    Args:
        name: ``"embedded"``, a folder written by ``save_pretrained``, or a name on the Hugging Face hub.
        prefix: Written before every text. Default: ``"query: "`` for the E5 family, otherwise nothing.
        revision: Commit or tag on the hub.

    Returns:
        The frozen encoder, float32, in evaluation mode. No remote code is run, nothing is unpickled.

    Raises:
        UserError: The encoder cannot be found or is of an unsupported family.
    """
    if prefix is None:
        prefix = "query: " if name == EMBEDDED or "e5" in Path(name).name.lower().split("-") else ""
    if name == EMBEDDED:
        image = embedded.parse(embedded.read_verified(embedded.locate()))
        model = embedded.build_model(image)
        return wrap(name, model, embedded.EmbeddedTokenizer(image), prefix=prefix, fingerprint=embedded.SHA256)
    try:
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False, use_fast=True)
        hub_model = AutoModel.from_pretrained(
            name, config=config, revision=revision, trust_remote_code=False, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"encoder {name!r} cannot be loaded: {reason}",
            "encoder.name",
            f"give a folder, a hub name that is reachable from here, or {EMBEDDED!r}",
        ) from error
    return wrap(name, hub_model, HubTokenizer(tokenizer), prefix=prefix, fingerprint=_checksum(hub_model, tokenizer))


def _checksum(model: nn.Module, tokenizer: Any) -> str:
    """SHA-256 over all weights, the configuration and the tokenizer's own serialisation."""
    digest = hashlib.sha256(model.config.to_json_string().encode())  # type: ignore[union-attr, operator]
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(memoryview(tensor.detach().contiguous().numpy()).cast("B"))  # type: ignore[arg-type]
    return digest.hexdigest()
