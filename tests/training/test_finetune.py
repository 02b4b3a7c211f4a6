from collections.abc import Callable
from typing import Any

import pytest
import torch

from metaxcr.autodiff import inner_loop
from metaxcr.config.schema import Finetune, ManyShots, Tuning, TuningChoice
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.errors import UserError
from metaxcr.model.batch import Batch, TaskData, make_batch
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.optim import schedule
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.training.finetune import choose_tuning, finetune

SETTINGS = Finetune(steps=12, batch=6, lr=0.01, average=0.5)


@pytest.fixture
def draw(toy_store: ActivationCache) -> BatchSampler:
    return BatchSampler(toy_store, 0, "finetune/et")


def test_a_fixed_number_of_steps_on_the_shots_and_nothing_else(
    toy_task: Callable[..., TaskData],
    toy_model: Callable[..., ChoiceModel],
    draw: BatchSampler,
    origin: Callable[[Batch], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, shots = toy_model(), toy_task("target", "et", size=10)
    seen = []
    loss = model.loss

    def recording(phi: dict[str, torch.Tensor], batch: Batch) -> torch.Tensor:
        seen.append((origin(batch), batch.tokens))
        return loss(phi, batch)

    monkeypatch.setattr(model, "loss", recording)
    steps = list(finetune(model, model.params(), [shots], SETTINGS, draw))

    assert len(steps) == len(seen) == 12
    assert all(drawn.language == "et" and len(set(drawn.ids)) == 6 for drawn, _ in seen)
    assert {i for drawn, _ in seen for i in drawn.ids} == set(shots.ids), "both halves are used"
    assert [passes for _, _, passes in steps] == [3 * tokens for _, tokens in seen]


def test_fine_tuning_is_adam_on_the_batch_loss_and_averages_the_last_half(
    toy_task: Callable[..., TaskData], toy_model: Callable[..., ChoiceModel], draw: BatchSampler
) -> None:
    model, shots = toy_model(), toy_task("target", "et", size=10)
    leaves = {n: p.clone().requires_grad_() for n, p in model.params().items()}
    optimiser = torch.optim.Adam(leaves.values())
    path, losses = [], []
    for step in range(12):
        optimiser.param_groups[0]["lr"] = 0.01 * schedule(step, 12, SETTINGS.warmup)
        optimiser.zero_grad()
        loss = model.loss(leaves, draw.batch(shots, 6, "rows", step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(leaves.values(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        path.append({n: p.detach().clone() for n, p in leaves.items()})

    steps = list(finetune(model, model.params(), [shots], SETTINGS, draw))

    assert [loss for _, loss, _ in steps] == pytest.approx(losses, rel=1e-3)
    for name in leaves:
        mean = torch.stack([phi[name] for phi in path[6:]]).mean(0)
        assert torch.allclose(steps[-1][0][name], mean, atol=2e-4)
        assert torch.allclose(steps[3][0][name], path[3][name], atol=2e-4), "before the average begins"


@pytest.mark.parametrize(("k", "steps", "lr", "scorer_lr"), [(7, 12, 0.01, 0.001), (8, 20, 0.05, None)])
def test_many_shots_have_steps_and_a_rate_of_their_own(
    toy_task: Callable[..., TaskData],
    toy_model: Callable[..., ChoiceModel],
    draw: BatchSampler,
    k: int,
    steps: int,
    lr: float,
    scorer_lr: float | None,
) -> None:
    many = ManyShots(at=8, steps=20, lr=0.05)
    settings = SETTINGS.model_copy(update={"scorer_lr": 0.001, "many_shots": many})
    alone = SETTINGS.model_copy(update={"steps": steps, "lr": lr, "scorer_lr": scorer_lr})
    model, shots = toy_model(), [toy_task("target", "et", size=k)]
    one, other = (list(finetune(model, model.params(), shots, s, draw)) for s in (settings, alone))
    assert [loss for _, loss, _ in one] == [loss for _, loss, _ in other] and len(one) == steps
    assert all(torch.equal(one[-1][0][n], p) for n, p in other[-1][0].items())


def test_cross_validation_chooses_what_holds_out_best(
    toy_task: Callable[..., TaskData], toy_model: Callable[..., ChoiceModel], draw: BatchSampler
) -> None:
    """The held-out losses are those of models trained without the fold; the lowest wins."""
    candidates = [Tuning(steps=0, lr=0.01), Tuning(steps=25, lr=0.01), Tuning(steps=25, lr=1e-6)]
    settings = SETTINGS.model_copy(update={"choose": TuningChoice(candidates=candidates, folds=3)})
    model, data = toy_model(), toy_task("target", "et", size=12)
    phi = model.params()
    chosen, losses, passes = choose_tuning(model, phi, [data], settings, draw)
    expected = []
    for candidate in candidates:
        total = 0.0
        for fold in range(3):
            kept = data.subset([i for n, i in enumerate(data.ids) if n % 3 != fold])
            tuned = phi
            alone = SETTINGS.model_copy(update={"steps": candidate.steps, "lr": candidate.lr})
            for step in finetune(model, phi, [kept], alone, draw):
                tuned = step[0]
            held_out = make_batch(data.subset(data.ids[fold::3]), range(4), draw.store)
            total += float(model.loss(tuned, held_out).detach()) * 4
        expected.append(total / 12)
    assert losses == pytest.approx(expected, abs=1e-6)
    assert losses[2] == pytest.approx(losses[0], abs=1e-3), "hardly moved"
    best = candidates[losses.index(min(losses))]
    assert (chosen.steps, chosen.lr, chosen.choose) == (best.steps, best.lr, None)
    assert passes > 0


def test_too_few_shots_for_the_folds_are_an_error(
    toy_task: Callable[..., TaskData], toy_model: Callable[..., ChoiceModel], draw: BatchSampler
) -> None:
    settings = SETTINGS.model_copy(update={"choose": TuningChoice(candidates=[Tuning()])})
    model = toy_model()
    with pytest.raises(UserError, match=r"3 shots cannot make 4 folds.*finetune\.choose\.folds"):
        choose_tuning(model, model.params(), [toy_task("target", "et", size=3)], settings, draw)


def test_sgd_is_the_inner_loop_of_meta_training(
    toy_task: Callable[..., TaskData], toy_model: Callable[..., ChoiceModel], draw: BatchSampler
) -> None:
    """Three steps on all shots are MAML's phi'_3 for that support batch."""
    model, shots = toy_model(), toy_task("target", "et", size=6)
    settings = Finetune(steps=3, lr=0.3, batch=6, optimizer="sgd")
    *_, (tuned, _, _) = finetune(model, model.params(), [shots], settings, draw)
    batches = [draw.batch(shots, 6, "rows", step) for step in range(3)]
    losses = [lambda p, b=b: model.loss(p, b) for b in batches]
    adapted, _ = inner_loop(losses, model.params(), 0.3)
    assert all(torch.equal(adapted[n], p) for n, p in tuned.items())
    with pytest.raises(ValueError, match="'average' has no effect with optimizer 'sgd'"):
        Finetune(optimizer="sgd", average=0.25)


def test_the_shots_are_learned_and_phi_is_left_alone(
    toy_task: Callable[..., TaskData], toy_model: Callable[..., ChoiceModel], draw: BatchSampler
) -> None:
    model, shots = toy_model(), toy_task("target", "et", size=6)
    phi = model.params()
    before = {n: p.clone() for n, p in phi.items()}
    settings = SETTINGS.model_copy(update={"steps": 100})

    *_, (tuned, _, _) = finetune(model, phi, [shots], settings, draw)

    whole = draw.batch(shots, 6, "check", 0)
    with torch.no_grad():
        assert float(model.loss(tuned, whole)) < 0.7 * float(model.loss(phi, whole))
    assert all(torch.equal(phi[n], before[n]) for n in phi)


def test_no_steps_yield_nothing(
    toy_task: Callable[..., TaskData], toy_model: Callable[..., ChoiceModel], draw: BatchSampler
) -> None:
    model = toy_model()
    none = SETTINGS.model_copy(update={"steps": 0})
    assert list(finetune(model, model.params(), [toy_task()], none, draw)) == []
