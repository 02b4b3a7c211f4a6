"""The configurations of encoders: known ones, whose published configuration ships with us, and others.

With those, parameter shares can be computed, and encoders of the true size built, without a network.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig
from transformers.utils import logging

from metaxcr.encoders.families.family import check_family
from metaxcr.errors import UserError
from metaxcr.parse import number

WHERE = "encoder.name"
OF_ONE_ENCODER = "config.json and the weights must be of the same encoder"
NO_SAFETENSORS = (
    "save it as safetensors once where its pickle is trusted; some hub repositories have a converted "
    "copy under a revision such as refs/pr/1 (encoder.revision)"
)
MAX_SIZES = {  # of a configuration
    "vocab_size": 2**23, "hidden_size": 2**15, "embedding_size": 2**15, "num_hidden_layers": 1000,
    "num_attention_heads": 2**10, "intermediate_size": 2**18, "max_position_embeddings": 2**22,
    "type_vocab_size": 2**12,
}  # fmt: skip
PUBLISHED = Path(__file__).parent / "published"
RANDOM, TINY = "random", "random-tiny"  # prefixes of encoder names, see metaxcr.encoders.loading
TINY_SIZES = {  # under the keys of every family's configuration
    **dict.fromkeys(("hidden_size", "dim"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layers"), 4),
    **dict.fromkeys(("num_attention_heads", "n_heads"), 4),
    **dict.fromkeys(("intermediate_size", "hidden_dim"), 128),
    "vocab_size": 2048,
}


@dataclass(frozen=True)
class KnownEncoder:
    """What ships with the package about an encoder."""

    name: str
    hub: str | None  # its name on the Hugging Face hub; None for the embedded encoder
    licence: str
    pooler: bool  # whether its parameters count a pooling layer, which this package does not use
    config: dict[str, Any]  # its configuration, model_type included


def known_encoders() -> list[str]:
    """Short names of the encoders whose configuration ships with the package, the embedded one first."""
    names = (path.stem for path in PUBLISHED.glob("*.json"))
    return sorted(names, key=lambda name: (name != "embedded", name.lower()))


def known_encoder(name: str) -> KnownEncoder | None:
    """Look up an encoder by its short name or its name on the hub."""
    stem = name.rpartition("/")[2]
    if stem not in known_encoders():  # on some file systems `exists` ignores case
        return None
    found = KnownEncoder(stem, **json.loads((PUBLISHED / f"{stem}.json").read_text(encoding="utf-8")))
    return found if name in (stem, found.hub) else None


@dataclass(frozen=True)
class RandomName:
    """The parsed name of an encoder with random weights."""

    tiny: bool
    base: KnownEncoder  # the known encoder whose configuration it has
    seed: int

    @property
    def config(self) -> dict[str, Any]:
        """Its configuration: the published one, scaled down if the name says so."""
        if not self.tiny:
            return self.base.config
        config = {key: TINY_SIZES.get(key, value) for key, value in self.base.config.items()}
        for key, value in config.items():
            if key.endswith("_token_id"):
                config[key] = value if value < config["vocab_size"] else value % 8
        return config


def parse_random_name(name: str) -> RandomName | None:
    """Parse ``random:NAME`` or ``random-tiny:NAME``, either with ``@SEED``; None for any other name."""
    prefix, colon, rest = name.partition(":")
    if not colon or prefix not in (RANDOM, TINY):
        return None
    base, at, seed = rest.partition("@")
    encoder = known_encoder(base)
    where = f"{WHERE} {name!r}"
    if encoder is None:
        what, known = f"no shape of an encoder {base!r} ships with the package", ", ".join(known_encoders())
        raise UserError(what, where, f"known are {known}")
    if at and not (seed.isdecimal() and len(seed) <= 18):
        raise UserError(f"{seed[:40]!r} is no seed", where, f"write {prefix}:{base}@1")
    return RandomName(prefix == TINY, encoder, int(seed or 0))


def read_config(name: str, revision: str | None = None) -> Any:
    """Read the configuration of an encoder of a supported family."""
    with reading(name):
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
            words = f"{config.vocab_size:,} words of {width} numbers in its configuration"
            what = f"encoder {name!r} has {words}, its weights have {held:,} bytes"
            raise UserError(what, WHERE, OF_ONE_ENCODER)


@contextmanager
def reading(name: str) -> Iterator[None]:
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
