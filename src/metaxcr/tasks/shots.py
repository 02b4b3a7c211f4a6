"""Drawing by item id: the few labelled examples of a target, and the parts of the English target data."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

from metaxcr.errors import UserError
from metaxcr.tasks.example import Example
from metaxcr.tasks.seeding import derive


def draw_shots(examples: Sequence[Example], k: int, seed: int) -> list[str]:
    """Draw k item ids, as many of each question type as its share allows.

    Only the ids, the question types and (seed, "shots") matter, so a parallel set gives the same ids in every
    language and whatever the order of the file; draw from repaired data, where the types agree. Draws are
    nested: the first 8 of 16 shots are the 8 shots of the same seed, and the two halves of a draw are alike
    in types.

    Args:
        examples: The pool, with unique ids.
        k: Number of shots, 0 to the size of the pool.
        seed: The run's seed.

    Returns:
        k ids in drawing order.

    Raises:
        UserError: k is negative or larger than the pool, or an id occurs twice.
    """
    if not 0 <= k <= len(examples):
        raise UserError(f"{k} shots from {len(examples)} examples", "shots", f"choose 0 to {len(examples)}")
    return [example.id for example in _sequence(examples, seed, "shots")[:k]]


def split_target(
    examples: Sequence[Example], parts: Mapping[str, float], seed: int
) -> dict[str, list[Example]]:
    """Cut the English target data into parts that never overlap, such as source, query and reward.

    Args:
        examples: The data, with unique ids.
        parts: Name -> share of the examples, in (0, 1]; shares sum to at most 1, the rest stays unused.
        seed: The run's seed.

    Returns:
        Name -> examples, in the order of ``parts``; question types are spread evenly.

    Raises:
        UserError: A share is not positive, the shares sum to more than 1, a part would be empty, or an id
            occurs twice.
    """
    if any(share <= 0 for share in parts.values()) or sum(parts.values()) > 1 + 1e-9:
        raise UserError(
            f"shares {dict(parts)} do not fit into 1", "target split", "use positive shares, sum <= 1"
        )
    order = _sequence(examples, seed, "target-split")
    ends = [round(total * len(order)) for total in accumulate(parts.values())]
    cut = {name: order[start:end] for name, start, end in zip(parts, [0, *ends], ends, strict=False)}
    for name, part in cut.items():
        if not part:
            raise UserError(
                f"part '{name}' of {len(order)} examples is empty", "target split", "raise its share"
            )
    return cut


def _sequence(examples: Sequence[Example], seed: int, purpose: str) -> list[Example]:
    """Order all examples so that every prefix holds the question types in proportion.

    Within a type the order is by a hash of the id. The next type is chosen by Webster's method (largest n /
    (2a + 1) with n examples, a of them taken): unlike largest remainders it never takes a seat back as the
    prefix grows.
    """
    if len({example.id for example in examples}) != len(examples):
        raise UserError("an id occurs twice among the examples", purpose, "pass one split in one language")
    strata: dict[str, list[Example]] = {}
    for example in sorted(
        examples, key=lambda example: (derive(seed, f"{purpose}/{example.id}"), example.id)
    ):
        # questions in words are all different: only cause and effect are types of their own
        kind = example.question if example.question in ("cause", "effect") else ""
        strata.setdefault(kind, []).append(example)
    taken = dict.fromkeys(sorted(strata), 0)
    ordered = []
    for _ in examples:
        open_kinds = [kind for kind in taken if taken[kind] < len(strata[kind])]
        kind = max(open_kinds, key=lambda kind: len(strata[kind]) / (2 * taken[kind] + 1))
        ordered.append(strata[kind][taken[kind]])
        taken[kind] += 1
    return ordered
