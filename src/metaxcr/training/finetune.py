"""Few-shot fine-tuning: a number of steps on the shots, the last parameters averaged."""

from collections.abc import Iterator, Sequence

from metaxcr.autodiff import Params, descend, value_and_grad
from metaxcr.config.schema import Finetune
from metaxcr.errors import UserError
from metaxcr.model.batch import TaskData, make_batch
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.optim import Adam, Averager, Optimizer
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.training.episodes import evaluate
from metaxcr.training.loop import part_lrs, require_finite


def finetune(
    model: ChoiceModel, phi: Params, shots: Sequence[TaskData], settings: Finetune, batches: BatchSampler
) -> Iterator[tuple[Params, float, int]]:
    """Fine-tune phi on labelled shots.

    No checkpoint is chosen: the number of steps is fixed and the last share of them is averaged, because k
    shots leave nothing to choose with.

    Args:
        model: Scores batches.
        phi: The parameters to start from.
        shots: One set a language; each is trained on for ``settings.steps`` steps, in turn with the others.
        settings: Steps, batch size, learning rate.
        batches: Draws batches.

    Raises:
        Diverged: The loss or its gradient is not finite.

    Yields:
        After every step the averaged parameters so far, the loss before the step, and its token-passes.
    """
    settings = settings.for_shots(len(shots[0]))
    steps = settings.steps * len(shots)
    lrs = part_lrs(settings.scorer_lr)
    optimizer = Optimizer(settings.lr, steps, settings.warmup, settings.average, lrs)
    moments, average = Adam().init(phi), Averager.init()
    for step in range(steps):
        batch = batches.batch(shots[step % len(shots)], settings.batch, "rows", step)
        loss, grads = value_and_grad(lambda p: model.loss(p, batch), phi)  # noqa: B023  (used within this step)
        require_finite(step, {"loss": loss, "gradient": list(grads.values())})
        if settings.optimizer == "sgd":
            phi = descend(phi, grads, settings.lr)
        else:
            phi, moments = optimizer.update(phi, grads, moments, step)
            average = optimizer.add_to_average(average, phi, step)
        yield Averager.result(average, phi), loss, 3 * batch.tokens


def choose_tuning(
    model: ChoiceModel, phi: Params, shots: Sequence[TaskData], settings: Finetune, batches: BatchSampler
) -> tuple[Finetune, list[float], int]:
    """Choose steps and rate as ``settings.choose`` says: by cross-validation on the shots.

    A fold of every language is held out in turn. The lowest mean loss on what is held out wins, the first of
    equals; a candidate of 0 steps stands for no fine-tuning. Draws of shots are nested and stratified, so
    every n-th shot makes a fold like the whole.

    Args:
        model: Scores batches.
        phi: The parameters to start from.
        shots: One set a language.
        settings: Without candidates they stay as they are.
        batches: Draws batches.

    Returns:
        The settings with the chosen steps and rate, the held-out loss of every candidate, and the
        token-passes.

    Raises:
        UserError: A language has fewer shots than folds.
    """
    if settings.choose is None:
        return settings, [], 0
    candidates, folds = settings.choose.candidates, settings.choose.folds
    losses, passes = [], 0
    if (fewest := min(map(len, shots))) < folds:
        raise UserError(
            f"{fewest} shots cannot make {folds} folds",
            "finetune.choose.folds",
            f"set it to {max(2, fewest)} or less",
        )
    splits = [[_split(one, fold, folds) for one in shots] for fold in range(folds)]
    for candidate in candidates:
        total, tuning = 0.0, settings.with_tuning(candidate)
        for parts in splits:
            tuned = phi
            for step in finetune(model, phi, [kept for kept, _ in parts], tuning, batches):
                tuned, passes = step[0], passes + step[2]
            for _, held_out in parts:
                batch = make_batch(held_out, range(len(held_out)), batches.store)
                total += len(held_out) * evaluate(lambda p: model.loss(p, batch), tuned)  # noqa: B023
                passes += batch.tokens
        losses.append(total / sum(map(len, shots)))
    return settings.with_tuning(candidates[losses.index(min(losses))]), losses, passes


def _split(data: TaskData, fold: int, folds: int) -> tuple[TaskData, TaskData]:
    """What is trained on, and every n-th example, which is held out."""
    held_out = set(data.ids[fold::folds])
    return data.subset([i for i in data.ids if i not in held_out]), data.subset(data.ids[fold::folds])
