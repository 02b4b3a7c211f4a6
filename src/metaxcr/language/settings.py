"""Settings of training a language adapter, with their units."""

from typing import Annotated, Literal

from pydantic import Field

from metaxcr.config import Count, DtypeName, NamedLayers, Rate, Section, Share, resolve_layers


class LanguageTraining(Section):
    """How a language adapter is trained; the defaults follow MAD-X where a CPU allows."""

    seed: Annotated[int, Field(ge=0)] = 0  # draws weights, the held-out parts, order and masks
    held_out: Annotated[float, Field(gt=0, lt=0.5)] = 0.1  # share of the lines in each of the two parts
    length: Count = 128  # tokens a sequence, special tokens included
    batch: Count = 8  # sequences a step
    layers: NamedLayers | list[int] = "all"  # that carry the adapter, counted from 0
    reduction: Rate = 2.0  # the encoder's width over the bottleneck's
    invertible: bool = True  # an invertible part on the embeddings
    nonlinearity: Literal["relu", "gelu", "swish"] = "relu"
    head_steps: Count = 1000  # at most, for the head alone, where the encoder has none
    steps: Count = 300  # at most, for the adapter
    rate: Rate = 1e-3  # peak; linear warm-up, then linear decay to a tenth
    warmup: Share = 0.1  # share of the steps
    evaluate_every: Count = 25  # steps between two looks at the part that stops training, and checkpoints
    patience: Count = 3  # looks without an improvement before a stage stops
    rounds: Count = 4  # maskings of the training text, used in turn
    held_out_rounds: Count = 3  # maskings of each held-out sequence
    dtype: DtypeName = "auto"  # of the layers' arithmetic; auto: what this machine computes fastest

    def chosen_layers(self, depth: int) -> list[int]:
        """Resolve ``layers`` for an encoder of ``depth`` layers."""
        return resolve_layers(self.layers, depth)
