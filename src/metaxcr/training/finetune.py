"""Few-shot fine-tuning: a fixed number of steps on the shots, the last parameters averaged."""

from collections.abc import Iterator, Sequence

from metaxcr.autodiff import Params, value_and_grad
from metaxcr.config.schema import Finetune
from metaxcr.model.batch import TaskData
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.optim import Adam, Averager, Optimizer
from metaxcr.training.batch_sampler import BatchSampler
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
        phi, moments = optimizer.update(phi, grads, moments, step)
        average = optimizer.add_to_average(average, phi, step)
        yield Averager.result(average, phi), loss, 3 * batch.tokens
