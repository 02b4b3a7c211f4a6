"""Encoders as others publish them, from a folder or the hub: configuration, weights, tokenizer, output head.

Weights are read from safetensors files only, no code of a repository is run, and anything incomplete or
inconsistent is a UserError. ``transformers`` fills missing weights with random numbers and a missing
vocabulary with an empty one; here both are errors.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoTokenizer
from transformers.utils import logging
from transformers.utils.hub import cached_file

from metaxcr.encoders.families.family import check_family
from metaxcr.errors import UserError
from metaxcr.parse import number

WHERE = "encoder.name"
MAX_SIZES = {  # of a configuration
    "vocab_size": 2**23, "hidden_size": 2**15, "embedding_size": 2**15, "num_hidden_layers": 1000,
    "num_attention_heads": 2**10, "intermediate_size": 2**18, "max_position_embeddings": 2**22,
    "type_vocab_size": 2**12,
}  # fmt: skip
VOCABULARIES = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "spm.model", "tokenizer.model")
NO_SAFETENSORS = (
    "save it as safetensors once where its pickle is trusted; some hub repositories have a converted "
    "copy under a revision such as refs/pr/1 (encoder.revision)"
)


def find_commit(name: str, revision: str | None = None) -> str | None:
    """Find the commit of a hub name, offline the one in the local cache; None for a folder."""
    if os.path.isdir(name):
        return None
    with _reading(name):
        path = str(cached_file(name, "config.json", revision=revision))
    found = re.search(r"snapshots[/\\]([0-9a-f]{40})[/\\]", path)
    return found[1] if found else None


def read_config(name: str, revision: str | None = None) -> Any:
    """Read the configuration of an encoder of a supported family."""
    with _reading(name):
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
    check_family(name, config)
    _check_sizes(name, config)
    return config


def _check_sizes(name: str, config: Any) -> None:
    """Refuse sizes that no encoder has, and a vocabulary that the folder's weights cannot hold.

    ``transformers`` allocates memory for what a configuration says, whatever the weights are.
    """
    for key, most in MAX_SIZES.items():
        if (value := getattr(config, key, None)) is not None:
            number(value, key, f"config.json of encoder {name!r}", low=0, high=most, whole=True)
    if os.path.isdir(name):
        held = sum(path.stat().st_size for path in Path(name).glob("*.safetensors"))
        width = getattr(config, "embedding_size", None) or config.hidden_size
        if config.vocab_size * width > 16 * held + 10**8:  # more numbers than weights of four bits each
            raise UserError(
                f"encoder {name!r} has {config.vocab_size:,} words of {width} numbers in its configuration, "
                f"its weights have {held:,} bytes",
                WHERE,
                "config.json and the weights must be of the same encoder",
            )


def read_encoder(name: str, revision: str | None, *, with_tokenizer: bool = True) -> tuple[Any, Any]:
    """Read model and tokenizer (None unless ``with_tokenizer``); only a pooling layer may be missing."""
    config = read_config(name, revision)  # checks the family before hundreds of megabytes are fetched
    tokenizer = _read_tokenizer(name, revision) if with_tokenizer else None
    model, missing = _read_model(name, revision, config)
    missing = [key for key in missing if not key.startswith("pooler.")]
    if missing:
        raise UserError(f"encoder {name!r} lacks {len(missing)} weights, the first {missing[0]}", WHERE)
    if tokenizer is not None and len(tokenizer) > config.vocab_size:
        raise UserError(
            f"the tokenizer of encoder {name!r} has {len(tokenizer)} ids, "
            f"its embeddings have {config.vocab_size} rows",
            WHERE,
            "tokenizer and weights must be of the same encoder",
        )
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
    with _reading(name):
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
        raise UserError(
            f"the weights of encoder {name!r} do not fit its configuration: "
            f"{key} has the shape {tuple(found)}, {tuple(wanted)} is expected",
            WHERE,
            "config.json and the weights must be of the same encoder",
        )
    return model.eval(), sorted(report["missing_keys"])


def _read_tokenizer(name: str, revision: str | None) -> Any:
    """Read a fast tokenizer."""
    if not any(_has(name, file, revision) for file in VOCABULARIES):
        raise UserError(f"encoder {name!r} has no tokenizer", WHERE, f"it needs {' or '.join(VOCABULARIES)}")
    with _reading(name):
        tokenizer = AutoTokenizer.from_pretrained(
            name, use_fast=True, revision=revision, trust_remote_code=False
        )
    if not tokenizer.is_fast:
        raise UserError(f"encoder {name!r} has no fast tokenizer", WHERE, "it needs a tokenizer.json")
    return tokenizer


def _has(name: str, file: str, revision: str | None) -> bool:
    """Whether a folder or repository has a file; false if the hub cannot be reached."""
    problems = ("missing_entries", "gated_repo", "connection_errors")
    quiet = {f"_raise_exceptions_for_{problem}": False for problem in problems}
    return cached_file(name, file, revision=revision, **quiet) is not None


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn any error of the libraries into a UserError, and silence the reports of ``transformers``."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # from several packages; `tokenizers` raises plain Exception
        lines = str(error).strip().split("\n")
        reason = " ".join(line.strip() for line in lines[: 1 + lines[0].rstrip().endswith(":")])
        fix = "give a folder, a hub name that is reachable from here, or 'embedded'"
        if "safetensors" in reason and ("no file named" in reason or "not appear to have" in reason):
            reason, fix = "it has no weights in a safetensors file", NO_SAFETENSORS
        what = f"encoder {name!r} cannot be loaded: {reason or type(error).__name__}"
        raise UserError(what, WHERE, fix) from error
    finally:
        logging.set_verbosity(verbosity)
