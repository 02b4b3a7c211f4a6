"""Load an encoder by name: the embedded one, a folder or hub name of a supported family, or a random one.

Weights are read from safetensors files only, no code of a repository is run, and anything incomplete or
inconsistent is a UserError. ``transformers`` fills missing weights with random numbers and a missing
vocabulary with an empty one; here both are errors.

Random encoders have the shape of a known encoder, or a tiny one of its family, and need no download. Their
parameter counts, speed and memory are those of the real encoder, their answers mean nothing: they are for
tests, for trying a configuration and for measurements.
"""

import hashlib
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoTokenizer
from transformers.utils.hub import cached_file

from metaxcr.encoders import embedded
from metaxcr.encoders.encoder import FrozenEncoder, Tokenizer
from metaxcr.encoders.families.family import check_family
from metaxcr.encoders.shapes import (
    OF_ONE_ENCODER,
    WHERE,
    RandomName,
    known_encoder,
    parse_random_name,
    read_config,
    reading,
)
from metaxcr.encoders.tokens import HashTokenizer, HubTokenizer
from metaxcr.errors import UserError
from metaxcr.parse import read_json

EMBEDDED = "embedded"
NOTES = "metaxcr.json"  # where a trimmed encoder came from, and its prefix
VOCABULARIES = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "spm.model", "tokenizer.model")


def load_encoder(name: str, *, prefix: str | None = None, revision: str | None = None) -> FrozenEncoder:
    """Load an encoder, frozen, float32, in evaluation mode. No remote code is run, nothing is unpickled.

    Args:
        name: ``"embedded"``, a folder written by ``save_pretrained``, a name on the Hugging Face hub, or
            ``random:NAME`` for random weights.
        prefix: Written before every text; default: see :func:`default_prefix`.
        revision: Commit, tag or branch on the hub; the commit is in the encoder's ``revision``.
    """
    prefix = default_prefix(name) if prefix is None else prefix
    commit: str | None = None
    model: Any
    tokenizer: Tokenizer
    if name == EMBEDDED:
        file = embedded.parse(embedded.read_verified(embedded.locate()))
        model, fingerprint = embedded.build_model(file, quantized_words=True), embedded.SHA256
        tokenizer = embedded.EmbeddedTokenizer(file.vocabulary)
    elif (random := parse_random_name(name)) is not None:
        model, tokenizer, fingerprint = random_model(random)
    elif embedded.is_trimmed(Path(name)):
        model, _ = read_encoder(name, None, with_tokenizer=False)
        model.pooler = None  # random, as the file has none
        tokenizer = trimmed = embedded.trimmed_tokenizer(Path(name))
        fingerprint = _checksum(model, trimmed.fingerprint)
    else:
        commit = find_commit(name, revision)
        model, hub_tokenizer = read_encoder(name, commit)
        fingerprint = _checksum(model, hub_tokenizer.backend_tokenizer.to_str())
        tokenizer = HubTokenizer(hub_tokenizer)
    encoder = wrap(name, model, tokenizer, prefix=prefix, fingerprint=fingerprint)
    encoder.revision = commit
    return encoder


@cache
def encoder_shape(name: str, revision: str | None = None) -> FrozenEncoder:
    """An encoder of any name on the meta device, without weights: for its layers, width and parameters.

    Of a name on the hub that is not known, only the configuration is fetched.
    """
    random, known = parse_random_name(name), known_encoder(name)
    if random is not None:
        config, pooler = AutoConfig.for_model(**random.config), random.base.pooler
    elif known is not None and not os.path.isdir(name):
        config, pooler = AutoConfig.for_model(**known.config), known.pooler
    else:
        config, pooler = read_config(name, revision), not embedded.is_trimmed(Path(name))
    check_family(name, config)
    with torch.device("meta"):
        model = _untrained(config, pooler)
        return wrap(name, model, HashTokenizer.of(config), prefix="", fingerprint="")


def _untrained(config: Any, pooler: bool) -> Any:
    return AutoModel.from_config(
        config, dtype=torch.float32, **({} if pooler else {"add_pooling_layer": False})
    )


def wrap(name: str, model: Any, tokenizer: Tokenizer, *, prefix: str, fingerprint: str) -> FrozenEncoder:
    """Take a ``transformers`` base model of a supported family apart into a :class:`FrozenEncoder`."""
    config = model.config
    family = check_family(name, config)
    first, words = family.first_position(config), model.get_input_embeddings()
    embeddings = family.embeddings(model)
    layers = nn.ModuleList(family.layers(model))
    return FrozenEncoder(
        name=name,
        family=family,
        fingerprint=fingerprint,
        tokenizer=tokenizer,
        embeddings=embeddings.requires_grad_(False).eval(),
        word_embeddings=words if isinstance(words, embedded.QuantizedEmbedding) else words.weight.detach(),
        layers=layers.requires_grad_(False).eval(),
        prefix=prefix,
        first_position=first,
        max_positions=config.max_position_embeddings - first,
        parameters=count_parameters(model),  # includes a pooling layer, as published sizes do
        embedding_parameters=count_parameters(embeddings),
    )


def count_parameters(module: nn.Module) -> int:
    """Number of a module's parameters, quantized ones included."""
    quantized = (m.shape.numel() for m in module.modules() if isinstance(m, embedded.QuantizedEmbedding))
    return sum(p.numel() for p in module.parameters()) + sum(quantized)


def default_prefix(name: str) -> str:
    """What is written before every text by default: ``"query: "`` for the E5 family, otherwise nothing.

    Trimmed encoders have theirs in a file.
    """
    notes = Path(name) / NOTES
    if os.path.isfile(notes):
        try:
            return str(read_json(notes, embedded.TRIM_AGAIN)["prefix"])
        except (KeyError, TypeError) as error:
            raise UserError(f"damaged: {error}", str(notes), embedded.TRIM_AGAIN) from error
    return "query: " if name == EMBEDDED or "e5" in Path(name).name.lower().split("-") else ""


def _checksum(model: Any, tokenizer: str) -> str:
    """SHA-256 over the weights, the configuration and the tokenizer's own serialisation.

    The pooling layer is left out: it is not used, and random if a checkpoint has none.
    """
    digest = hashlib.sha256(model.config.to_json_string().encode())
    digest.update(tokenizer.encode())
    for key, tensor in sorted(model.state_dict().items()):
        if not key.startswith("pooler."):
            digest.update(key.encode())
            digest.update(memoryview(tensor.detach().contiguous().numpy()).cast("B"))
    return digest.hexdigest()


def random_model(name: RandomName) -> tuple[Any, HashTokenizer, str]:
    """Build a ``transformers`` model with random weights, a tokenizer for it, and the fingerprint of both."""
    config = AutoConfig.for_model(**name.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(name.seed)
        model = _untrained(config, name.base.pooler)
    tokenizer = HashTokenizer.of(config)
    made = ["random 1", name.config, name.seed, torch.__version__, transformers.__version__]
    text = f"{json.dumps(made, sort_keys=True)} {tokenizer.fingerprint}"
    return model.eval(), tokenizer, hashlib.sha256(text.encode()).hexdigest()


def find_commit(name: str, revision: str | None = None) -> str | None:
    """Find the commit of a hub name, offline the one in the local cache; None for a folder."""
    if os.path.isdir(name):
        return None
    with reading(name):
        path = str(cached_file(name, "config.json", revision=revision))
    found = re.search(r"snapshots[/\\]([0-9a-f]{40})[/\\]", path)
    return found[1] if found else None


def read_encoder(name: str, revision: str | None, *, with_tokenizer: bool = True) -> tuple[Any, Any]:
    """Read model and tokenizer (None unless ``with_tokenizer``); only a pooling layer may be missing."""
    config = read_config(name, revision)  # checks the family before hundreds of megabytes are fetched
    tokenizer = _read_tokenizer(name, revision) if with_tokenizer else None
    model, missing = _read_model(name, revision, config)
    missing = [key for key in missing if not key.startswith("pooler.")]
    if missing:
        raise UserError(f"encoder {name!r} lacks {len(missing)} weights, the first {missing[0]}", WHERE)
    if tokenizer is not None and (ids := len(tokenizer)) > config.vocab_size:
        what = (
            f"the tokenizer of encoder {name!r} has {ids} ids, its embeddings have {config.vocab_size} rows"
        )
        raise UserError(what, WHERE, "tokenizer and weights must be of the same encoder")
    return model, tokenizer


def load_mlm_head(name: str, revision: str | None = None) -> nn.Module | None:
    """Load an encoder's own masked-language-modelling head, frozen: (tokens, width) to (tokens, vocabulary).

    None if the encoder has no trained head, as the embedded and the random ones. Give the revision of the
    loaded encoder.
    """
    if name == "embedded" or name.startswith("random"):
        return None
    config = read_config(name, revision)
    model, missing = _read_model(name, revision, config, AutoModelForMaskedLM)
    if any(not key.startswith(f"{model.base_model_prefix}.") for key in missing):
        return None
    head = check_family(name, config).mlm_head(model)
    return None if head is None else head.requires_grad_(False).eval()


def _read_model(name: str, revision: str | None, config: Any, kind: Any = AutoModel) -> tuple[Any, list[str]]:
    """Read a model in float32; also return the names of the weights that the file lacks."""
    with reading(name):
        model, report = kind.from_pretrained(
            name,
            config=config,
            revision=revision,
            trust_remote_code=False,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are reported below, by name
            output_loading_info=True,
        )
    if report["mismatched_keys"]:
        key, found, wanted = min(report["mismatched_keys"])
        shapes = f"{key} has the shape {tuple(found)}, {tuple(wanted)} is expected"
        what = f"the weights of encoder {name!r} do not fit its configuration: {shapes}"
        raise UserError(what, WHERE, OF_ONE_ENCODER)
    return model.eval(), sorted(report["missing_keys"])


def _read_tokenizer(name: str, revision: str | None) -> Any:
    """Read a fast tokenizer."""
    if not any(_has(name, file, revision) for file in VOCABULARIES):
        raise UserError(f"encoder {name!r} has no tokenizer", WHERE, f"it needs {' or '.join(VOCABULARIES)}")
    options = {"use_fast": True, "revision": revision, "trust_remote_code": False}
    with reading(name):
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    if not tokenizer.is_fast:
        raise UserError(f"encoder {name!r} has no fast tokenizer", WHERE, "it needs a tokenizer.json")
    return tokenizer


def _has(name: str, file: str, revision: str | None) -> bool:
    """Whether a folder or repository has a file; false if the hub cannot be reached."""
    problems = ("missing_entries", "gated_repo", "connection_errors")
    quiet = {f"_raise_exceptions_for_{problem}": False for problem in problems}
    return cached_file(name, file, revision=revision, **quiet) is not None
