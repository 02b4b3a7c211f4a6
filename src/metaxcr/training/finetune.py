"""Few-shot fine-tuning: a fixed number of steps on the shots, the last parameters averaged."""

from collections.abc import Iterator, Sequence

from metaxcr.autodiff import Params, value_and_grad
from metaxcr.config.schema import Finetune
from metaxcr.model.batch import TaskData
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.optim import Adam, Averager, schedule
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.training.loop import require_finite


def finetune(
    model: ChoiceModel, phi: Params, shots: Sequence[TaskData], settings: Finetune, draw: BatchSampler
) -> Iterator[tuple[Params, float, int]]:
    """Fine-tune phi on labelled shots.

    No checkpoint is chosen: the number of steps is fixed and the last share of them is averaged, because k
    shots leave nothing to choose with.

    Args:
        model: Scores batches.
        phi: The start.
        shots: All of them, both halves; of several languages each in turn, ``settings.steps`` batches each.
        settings: Steps a language, batch size, rate.
        draw: Draws batches.

    Raises:
        Diverged: The loss or its gradient is not finite.

    Yields:
        After every step the averaged parameters so far, the loss before the step, and its token-passes.
    """
    total = settings.steps * len(shots)
    adam, averager = Adam(), Averager(total, settings.average)
    moments, mean = adam.init(phi), averager.init()
    for step in range(total):
        batch = draw.batch(shots[step % len(shots)], settings.batch, "rows", step)
        loss, gradient = value_and_grad(lambda p: model.loss(p, batch), phi)  # noqa: B023  (used within this step)
        require_finite(step, {"loss": loss, "gradient": list(gradient.values())})
        rate = settings.rate * schedule(step, total, settings.warmup)
        phi, moments = adam.update(gradient, moments, phi, rate)
        mean = averager.update(mean, phi, step)
        yield averager.result(mean, phi), loss, 3 * batch.tokens
