"""The interface of a family of encoders, and the registry of families."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from metaxcr.encoders.layer import FrozenLayer
from metaxcr.errors import UserError


class Family(ABC):
    """How the encoders of one family are taken apart.

    A family turns a ``transformers`` model into an embedding module and frozen layers. Everything else
    (ragged activations, the trunk and its cache, adapters, saving) works on these. The layers call the four
    methods of :class:`metaxcr.encoders.layer.AdapterStack`.

    Attributes:
        model_types: Values of a configuration's ``model_type`` that belong to it.
        adapters_at: Hook -> where AdapterHub's files keep the bottleneck adapters that act there, relative to
            the base model; ``{layer}`` stands for the layer's number, counted from 0.
    """

    model_types: ClassVar[tuple[str, ...]]
    adapters_at: ClassVar[Mapping[str, str]] = {
        "attended": "encoder.layer.{layer}.attention.output",
        "output": "encoder.layer.{layer}.output",
    }

    def refusal(self, config: Any) -> str | None:
        """Why an encoder of the family is not supported, as "has ..."; None if it is."""
        return None

    def first_position(self, config: Any) -> int:
        """Position id of a text's first token, if the embeddings hold positions."""
        return 0

    def embeddings(self, model: Any) -> nn.Module:
        """The module that turns tokens into vectors.

        It is called with ``input_ids``, ``token_type_ids`` and ``position_ids``, each (1, tokens), the tokens
        of all texts one after another; :class:`WordEmbeddings` drops those that a family does not use.
        """
        embeddings: nn.Module = model.embeddings
        return embeddings

    @abstractmethod
    def layers(self, model: Any) -> list[FrozenLayer]:
        """All layers from below. A LayerNorm after the top layer belongs to the top layer."""

    def mlm_head(self, model: Any) -> nn.Module | None:
        """The head of ``AutoModelForMaskedLM``, (tokens, width) to (tokens, vocabulary); None without one."""
        return None


class WordEmbeddings(nn.Module):
    """A family's embedding module, called with only the arguments that it takes.

    ``takes`` has names among ``token_type_ids`` and ``position_ids``.
    """

    def __init__(self, module: nn.Module, takes: Sequence[str] = ()) -> None:
        super().__init__()
        self.module, self.takes = module, frozenset(takes)

    def forward(self, input_ids: Tensor, **more: Tensor) -> Tensor:
        """Map ids (1, tokens) to vectors (1, tokens, width)."""
        vectors: Tensor = self.module(input_ids, **{k: v for k, v in more.items() if k in self.takes})
        return vectors


_FAMILIES: dict[str, Family] = {}


def register(family: type[Family]) -> type[Family]:
    """Register a family; a class decorator. A later one replaces an earlier one of the same model type."""
    for model_type in family.model_types:
        _FAMILIES[model_type] = family()
    return family


def families() -> list[str]:
    """All supported values of ``model_type``."""
    return sorted(_FAMILIES)


def family_of(model_type: str) -> Family | None:
    """The family of a ``model_type``; None if it is not supported."""
    return _FAMILIES.get(model_type)


def check_family(name: str, config: Any) -> Family:
    """Return the family of a ``transformers`` configuration; one that is not supported is an error."""
    family = family_of(config.model_type)
    if family is None:
        what, known = f"encoder {name!r} is of the family {config.model_type!r}", ", ".join(families())
        raise UserError(
            what, "encoder.name", f"use one of {known}; docs/encoders.md shows how to add a family"
        )
    reason = family.refusal(config)
    if reason is not None:
        raise UserError(f"encoder {name!r} {reason}", "encoder.name", "use another encoder")
    return family
