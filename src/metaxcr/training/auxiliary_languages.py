"""Which runs of CLML the regime ``zero-shot-aux`` needs, and which auxiliary languages are near a language.

The rule of the regime: the parameters for a language come from a run that used no label in that language.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import Text
from metaxcr.errors import UserError
from metaxcr.model.choice_model import mean_pool

SENTENCES = 256  # for language similarity; the means change little with more


@dataclass(frozen=True)
class Adaptation:
    """One run of CLML on auxiliary languages.

    Attributes:
        name: Of its files and of its random numbers.
        auxiliary: Languages whose labels are used.
        tested: Languages that the result is evaluated in; none of them is auxiliary.
        alone: Whether it is for one tested language, with that language's parallel text.
    """

    name: str
    auxiliary: tuple[str, ...]
    tested: tuple[str, ...]
    alone: bool = False

    def __post_init__(self) -> None:
        """Check the rule of the regime."""
        both = sorted(set(self.auxiliary) & set(self.tested))
        if both:
            raise ValueError(f"{self.name} would test {both} after training on labels in it")


def plan_adaptations(
    tested: Sequence[str], chosen: Mapping[str, Sequence[str]], per_language: bool
) -> list[Adaptation]:
    """Plan the runs of CLML on auxiliary languages: as few as the rule allows.

    Args:
        tested: Languages that are evaluated.
        chosen: Tested language -> auxiliary languages for it; its own is left out.
        per_language: A run for each tested language, on the languages chosen for it. Otherwise one run on all
            chosen languages serves the tested languages that are not among them, and each of the others
            gets a run without it.

    Raises:
        UserError: No auxiliary language is left for a tested one.
    """
    without = {t: tuple(a for a in chosen[t] if a != t) for t in tested}
    if per_language:
        plan = [Adaptation(f"clml.{t}", without[t], (t,), alone=True) for t in tested]
    else:
        union = tuple(dict.fromkeys(a for t in tested for a in chosen[t]))
        shared = tuple(t for t in tested if t not in union)
        plan = [Adaptation("clml", union, shared)] if shared else []
        for t in (t for t in tested if t in union):
            rest = tuple(a for a in union if a != t)
            plan.append(Adaptation(f"clml.without-{t}", rest, (t,)))
    for one in plan:
        if not one.auxiliary:
            raise UserError(
                f"no auxiliary language is left for {one.tested[0]!r}, which is tested itself",
                "target.auxiliary.languages",
                "name another one",
            )
    return plan


@torch.no_grad()
def sentence_vectors(store: ActivationCache, lines: Sequence[str]) -> Tensor:
    """Mean vectors of the first :data:`SENTENCES` lines by the frozen encoder: (sentences, width)."""
    trunk = store.gather(store.ensure([Text(line) for line in lines[:SENTENCES]]))
    top = store.encoder.run(trunk, store.layer, store.encoder.depth, torch.float32)
    return mean_pool(top, trunk.lengths).cpu()


def language_similarity(vectors: Mapping[str, Tensor]) -> tuple[list[str], Tensor]:
    """Similarity of languages to an encoder, from the same sentences in each.

    The mean over the same sentences has what is common to a language's texts; the mean over all languages is
    subtracted. The meaning of the sentences cancels, because it is the same in every language.

    Args:
        vectors: Language -> (sentences, width), row n of the same meaning in all.

    Returns:
        The languages, and (languages, languages) cosines of their centred means.

    Source:
        Language means: Libovicky et al. 2020 (Findings of EMNLP, arXiv 2004.05160), there to remove the
        language's identity; its use for the choice of auxiliary languages is ours.
    """
    names = list(vectors)
    means = torch.stack([F.normalize(vectors[name].float(), dim=-1).mean(0) for name in names])
    centred = F.normalize(means - means.mean(0), dim=-1)
    return names, centred @ centred.T


def nearest_languages(
    vectors: Mapping[str, Tensor], tested: Sequence[str], candidates: Sequence[str], n: int
) -> dict[str, list[str]]:
    """The ``n`` candidates nearest to each tested language, itself excluded; the nearest first.

    Args:
        vectors: As for :func:`language_similarity`, of the tested and the candidate languages.
        tested: Languages that are evaluated.
        candidates: Languages with labels.
        n: How many.

    Raises:
        UserError: There are fewer candidates than ``n`` for some language.
    """
    names, cosines = language_similarity(vectors)
    chosen = {}
    for t in tested:
        others = [c for c in candidates if c != t]
        if len(others) < n:
            raise UserError(
                f"{n} nearest of {len(others)} auxiliary languages for {t!r}",
                "target.auxiliary.nearest",
                "name more languages or lower it",
            )
        row = cosines[names.index(t)]
        chosen[t] = sorted(others, key=lambda c: (-float(row[names.index(c)]), c))[:n]
    return chosen
