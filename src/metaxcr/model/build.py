"""From settings to a model, and the model's parameters to and from disk."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from metaxcr.adapters.adapted_encoder import AdaptedEncoder
from metaxcr.adapters.adapter_files import load_language, load_task, pack_adapter, write_adapter
from metaxcr.adapters.layers import NONE, SIZELESS, AdapterShape, fresh_layer, reduce_mixture
from metaxcr.config.schema import Config, resolve_layers
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.hardware import choose_dtype
from metaxcr.model.choice_model import SCORER, ChoiceModel, Params
from metaxcr.parse import read_tensors
from metaxcr.seeding import derive

SCORER_FILE = "scorer.safetensors"
SCALING = {"parallel": 4.0}  # of kinds whose default is not 1, from their papers
TASK = "adapted.task"  # prefix of the task adapter's parameters


def untrained_kind(kind: str) -> str:
    """The scorer of the similarity baseline: the run's own, or dual for cross, which starts constant."""
    return "dual" if kind == "cross" else kind


def untrained_model(config: Config, encoder: FrozenEncoder) -> ChoiceModel:
    """The similarity baseline: the scorer of :func:`untrained_kind` at step 0."""
    return build_model(config, encoder, 0, kind=untrained_kind(config.scoring.kind))


def adapter_layers(config: Config, depth: int) -> list[int]:
    """Resolve ``adapters.layers`` for an encoder of ``depth`` layers; kind ``none`` has none."""
    return [] if config.adapters.kind == NONE else resolve_layers(config.adapters.layers, depth)


def task_shape(config: Config, *, inference: bool = False) -> AdapterShape:
    """Kind and size of the task adapter; for inference, of the one adapter that a mixture is reduced to."""
    settings = config.adapters
    if settings.kind in SIZELESS:
        return SIZELESS[settings.kind]
    sources = source_adapters(config) if inference else 0
    scaling = settings.scaling or SCALING.get(settings.kind, 1.0)
    return AdapterShape(settings.kind, settings.bottleneck * max(1, sources), settings.nonlinearity, scaling)


def source_adapters(config: Config) -> int:
    """Number of task adapters that are mixed, one a source, the English target data included; or 0."""
    return len(config.sources) + 1 if config.adapters.mixture else 0


def build_model(
    config: Config, encoder: FrozenEncoder, seed: int, *, kind: str | None = None, inference: bool = False
) -> ChoiceModel:
    """Build the trainable system around an encoder; ``seed`` draws the adapters' initial weights.

    ``kind`` of scoring is by default the configuration's own. With ``inference``, the model is one for
    :func:`load_phi`: a mixture is reduced to one adapter.
    """
    folders = config.adapters.language
    adapted = AdaptedEncoder(
        encoder,
        adapter_layers(config, encoder.depth),
        task_shape(config, inference=inference),
        torch.Generator().manual_seed(derive(seed, "adapters")),
        {language: load_language(Path(folder), encoder) for language, folder in folders.items()},
        0 if inference else source_adapters(config),
    )
    scoring = config.scoring
    dtype = choose_dtype(config.encoder.dtype, encoder.device).dtype
    model = ChoiceModel(adapted, kind or scoring.kind, scoring.temperature, scoring.negatives, dtype)
    return model.to(encoder.device)  # drawn on the CPU, so that it starts alike on every device


def memory_store(model: ChoiceModel, config: Config) -> ActivationCache:
    """A store of a model's trunk for texts that are seen once: nothing is cached on disk."""
    adapted, most = model.adapted, config.encoder.max_tokens
    place = (adapted.encoder, adapted.start, model.dtype, Path())
    return ActivationCache(*place, max_tokens=most, languages=adapted.languages)


def save_phi(folder: Path, name: str, phi: Params, config: Config, encoder: FrozenEncoder) -> None:
    """Write phi: the task adapter, in AdapterHub's layout if that has its kind, and the scorer beside it.

    A mixture is written as the one adapter that computes the same.
    """
    phi, shape = reduce_mixture(phi), task_shape(config, inference=True)
    layers = {}
    for layer in adapter_layers(config, encoder.depth):
        layers[layer] = fresh_layer(encoder, layer, shape, torch.Generator())
        prefix = f"{TASK}.{layer}."
        own = {n.removeprefix(prefix): p for n, p in phi.items() if n.startswith(prefix)}
        layers[layer].load_state_dict(own)
    write_adapter(folder, pack_adapter(name, "task", layers, encoder))
    save_file({SCORER: phi[SCORER].cpu().contiguous()}, folder / SCORER_FILE)


def load_phi(folder: Path, model: ChoiceModel) -> Params:
    """Read phi for inference; if the model has a mixture, for the one adapter that it reduces to.

    A UserError if the tensors in the folder are not exactly the model's.
    """
    adapters = load_task(folder, model.adapted.encoder)
    layers = adapters.items()
    phi = {f"{TASK}.{i}.{n}": p.detach().clone() for i, a in layers for n, p in a.named_parameters()}
    phi |= {name: tensor.float() for name, tensor in read_tensors(folder / SCORER_FILE).items()}
    expected = reduce_mixture(model.params())
    same = {n: p.shape for n, p in phi.items()} == {n: p.shape for n, p in expected.items()}
    if not same or not all(model.adapted.is_of(adapter.shape) for adapter in adapters.values()):
        what = "the saved adapter is not of this model's shape"
        raise UserError(what, str(folder), "use its own config.yaml")
    return {name: phi[name].to(expected[name].device) for name in expected}
