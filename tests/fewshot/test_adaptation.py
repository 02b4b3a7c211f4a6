"""Adaptation: what can be learned is kept, noise is not, and every answer is held out."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.fewshot.conftest import SETTINGS, examples, own_of

from metaxcr.config.schema import ManyShots
from metaxcr.errors import UserError
from metaxcr.fewshot.adaptation import (
    MIN_EXAMPLES,
    AdaptedModel,
    Settings,
    Start,
    adapt_to,
    finetune_settings,
)
from metaxcr.fewshot.user_examples import UserExamples
from metaxcr.seeding import rng


def test_what_can_be_learned_is_learned_and_kept(adapted: AdaptedModel, start: Start) -> None:
    accuracy = {name: held_out.accuracy[0] for name, held_out in adapted.systems.items()}
    assert accuracy["adapted"] > accuracy["unadapted"] + 0.05 > accuracy["similarity"]
    assert adapted.selection.kept == "adapted" and adapted.selection.gain.shown == 1
    assert any(not torch.equal(adapted.phi[name], start.phi[name]) for name in start.phi)
    assert adapted.systems["adapted"].correct.shape == (36, 2)
    assert adapted.systems["similarity"].correct.shape == (36, 1)


def test_the_untrained_start_answers_like_the_similarity(adapted: AdaptedModel) -> None:
    """W is the identity over tau and the adapters are zero: step 0 of dual scoring."""
    similarity, unadapted = (
        np.array(adapted.systems[n].probabilities[0]) for n in ("similarity", "unadapted")
    )
    assert (similarity.argmax(1) == unadapted.argmax(1)).all()


def test_random_labels_are_not_kept_or_not_called_a_gain(start: Start) -> None:
    random = rng(5, "labels")
    noise = own_of([replace(e, label=int(random.integers(2))) for e in examples()])
    found = adapt_to(noise, start, SETTINGS)
    assert found.selection.gain.shown <= 0 and found.selection.kept == "unadapted"
    assert "Adapting helped" not in found.selection.sentence
    assert all(found.phi[name] is start.phi[name] for name in start.phi)


def test_copies_make_no_difference_more_certain(own: UserExamples, start: Start) -> None:
    """Four times the same examples are as many different ones, and say as much about the unadapted model."""
    quick = replace(SETTINGS, steps=1, repeats=1)
    copies = [replace(e, id=f"{e.id} {n}") for n in range(4) for e in own.examples]
    one, four = (adapt_to(o, start, quick) for o in (own, own_of(copies)))
    assert len(four.systems["unadapted"].labels) == 144
    assert four.distinct["unadapted"].correct.tolist() == one.systems["unadapted"].correct.tolist()
    assert four.distinct["unadapted"].accuracy == one.distinct["unadapted"].accuracy
    assert four.distinct["unadapted"].calibration == one.distinct["unadapted"].calibration
    assert all(len(scores) == 36 for scores in four.curve.values())


def test_the_curve_begins_with_the_unadapted_model(adapted: AdaptedModel) -> None:
    ns = sorted(adapted.curve)
    assert ns[0] == 0 and len(ns) == 4 and ns[-1] == 27
    assert (adapted.curve[0] == adapted.systems["unadapted"].correct).all()
    assert (adapted.curve[27] == adapted.systems["adapted"].correct[:, :1]).all()


def test_the_same_seed_gives_the_same_bytes(own: UserExamples, start: Start, adapted: AdaptedModel) -> None:
    again = adapt_to(own, start, SETTINGS)
    assert again.systems["adapted"].probabilities == adapted.systems["adapted"].probabilities
    assert all(torch.equal(again.phi[name], adapted.phi[name]) for name in adapted.phi)
    other = adapt_to(own, start, replace(SETTINGS, seed=1))
    assert other.systems["adapted"].probabilities != adapted.systems["adapted"].probabilities


def test_equal_ids_are_no_obstacle(own: UserExamples, start: Start) -> None:
    same = replace(own, examples=[replace(e, id="x") for e in own.examples])
    quick = replace(SETTINGS, steps=1, repeats=1)
    one, other = (adapt_to(o, start, quick).systems["adapted"].probabilities for o in (own, same))
    assert one == other


@pytest.mark.parametrize("size", [MIN_EXAMPLES - 1, 1])
def test_too_few_are_refused(start: Start, size: int) -> None:
    with pytest.raises(UserError, match=f"{size} different examples are too few"):
        adapt_to(own_of(examples(size)), start, SETTINGS)


def test_ten_are_enough(start: Start) -> None:
    found = adapt_to(own_of(examples(10)), start, Settings(steps=3))
    assert len(found.systems["adapted"].labels) == 10 and sorted(found.curve) == [0, 2, 4, 8]


def test_copies_of_one_example_are_one(start: Start) -> None:
    with pytest.raises(UserError, match="1 different examples"):
        adapt_to(own_of([replace(examples(1)[0], id=str(n)) for n in range(20)]), start, SETTINGS)


def test_unlabelled_examples_are_named(own: UserExamples, start: Start) -> None:
    hole = replace(own, examples=[*own.examples[:3], replace(own.examples[3], label=None), *own.examples[4:]])
    with pytest.raises(UserError, match="1 of 36 examples have no label, first q3"):
        adapt_to(hole, start, SETTINGS)


def test_progress_reaches_its_end(own: UserExamples, start: Start) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}

    def report(label: str, done: int, total: int) -> None:
        seen.setdefault(label, []).append((done, total))

    adapt_to(own, start, replace(SETTINGS, steps=1), report)
    done, total = seen["cross-validation"][-1]
    assert done == total == 2 * 4 + 2 * 4


def test_steps_and_rate_are_the_start_s_unless_given(start: Start) -> None:
    assert finetune_settings(start.config, Settings(), 16) == start.config.finetune
    given = finetune_settings(start.config, Settings(steps=3, lr=0.5), 16)
    assert (given.steps, given.lr, given.batch) == (3, 0.5, start.config.finetune.batch)
    many = start.config.finetune.model_copy(update={"many_shots": ManyShots(at=32, steps=9)})
    config = start.config.model_copy(update={"finetune": many})
    assert [finetune_settings(config, Settings(), k).steps for k in (31, 32)] == [many.steps, 9]
    assert finetune_settings(config, Settings(steps=3), 32).steps == 3


def test_former_names_of_settings_are_accepted() -> None:
    assert Settings(wished=0.7, rate=1e-3) == Settings(target_accuracy=0.7, lr=1e-3)


def test_cross_scoring_has_its_similarity_too(
    own: UserExamples, start: Start, toy_model: Callable[..., object]
) -> None:
    model = toy_model("cross")
    crossed = Start(start.config, model, model.params())  # type: ignore[arg-type, attr-defined]
    found = adapt_to(own, crossed, replace(SETTINGS, steps=2, repeats=1))
    dual = adapt_to(own, start, replace(SETTINGS, steps=2, repeats=1))
    assert found.systems["similarity"].probabilities == dual.systems["similarity"].probabilities
    assert found.systems["unadapted"].probabilities != dual.systems["unadapted"].probabilities
