"""What every stage of a run works with, and the shell around the meta-training loop."""

from dataclasses import dataclass
from typing import Any

from safetensors import SafetensorError

from metaxcr.adaptation import finetune
from metaxcr.adaptation.curricula import Draw
from metaxcr.config import Config, Meta
from metaxcr.encoders.trunk import TrunkStore
from metaxcr.experiments.environment import Costs
from metaxcr.experiments.folder import RunFolder
from metaxcr.experiments.prepare import Material
from metaxcr.experiments.progress import Progress
from metaxcr.files import disk_error
from metaxcr.meta.inner import Params
from metaxcr.meta.training import Curriculum, MetaState, meta_train
from metaxcr.sampling import Reinforce, Sampler, Uniform
from metaxcr.scoring.batch import TaskData
from metaxcr.scoring.build import load_phi, save_phi
from metaxcr.scoring.model import ChoiceModel


@dataclass
class RunContext:
    """What every unit of work needs."""

    config: Config
    material: Material
    store: TrunkStore
    model: ChoiceModel
    folder: RunFolder
    costs: Costs
    progress: Progress

    @property
    def sampler(self) -> Sampler:
        """The sampler over the run's sources."""
        settings, n = self.config.sampler, len(self.material.english.sources)
        if settings.kind == "uniform":
            return Uniform(n)
        return Reinforce(n, settings.hidden, settings.rate, settings.entropy, settings.window, settings.s_min)

    def meta(
        self,
        unit: str,
        stage: str,
        seed: int,
        curriculum: Curriculum,
        settings: Meta,
        begin: MetaState,
        purpose: str | None = None,
        about: dict[str, Any] | None = None,
    ) -> MetaState:
        """Run the meta-training loop with events, checkpoints and progress, from the last checkpoint on.

        Args:
            unit: Of work, by which the journal knows it.
            stage: ``ctml`` or ``clml``: what events and costs are booked under.
            seed: Of the run.
            curriculum: Draws the episodes.
            settings: Of the stage.
            begin: The state before the first step.
            purpose: Of the random numbers; default: the stage.
            about: What every event says besides.
        """
        journal = self.folder.journal
        if journal.unit == unit:
            begin = MetaState.from_tensors(journal.step, self.folder.state)
        state, purpose = begin, purpose or stage
        with self.costs.stage(stage):
            steps = meta_train(self.model, curriculum, self.sampler, settings, begin, seed, purpose)
            for state, event in steps:
                self.costs.add_passes(stage, event.pop("token_passes"))
                event = {k: _round(v) for k, v in event.items()}
                self.folder.log(
                    {"stage": stage, "seed": seed, "step": state.step - 1, **(about or {}), **event}
                )
                self.progress.update(
                    unit, state.step, settings.steps, f"query loss {event['query_loss']:.3f}"
                )
                if state.step % self.config.run.checkpoint_every == 0 and state.step < settings.steps:
                    self.folder.checkpoint(unit, state.step, state.tensors())
                    self.folder.write_json("costs.json", self.costs.summary())
        return state

    def finetune(self, phi: Params, shots: TaskData, seed: int) -> Params:
        """Fine-tune on all shots, with events and costs."""
        draw = Draw(self.store, seed, f"finetune/{shots.language}")
        about = {"stage": "finetune", "seed": seed, "language": shots.language, "k": len(shots)}
        with self.costs.stage("finetune"):
            steps = finetune(self.model, phi, shots, self.config.finetune, draw)
            for step, (tuned, loss, passes) in enumerate(steps):
                phi = tuned
                self.costs.add_passes("finetune", passes)
                self.folder.log({**about, "step": step, "loss": _round(loss)})
        return phi

    def publish(self, name: str, phi: Params) -> None:
        """Write an adapter where users and ``MetaXCR.from_pretrained`` look for it, and read it back."""
        folder = self.folder.path / "adapters" / name
        try:
            save_phi(folder, name, phi, self.config, self.model.adapted.encoder)
        except (OSError, SafetensorError) as error:
            raise disk_error(error, folder) from error
        load_phi(folder, self.model)


def _round(value: Any) -> Any:
    if isinstance(value, list):
        return [_round(v) for v in value]
    return round(value, 6) if isinstance(value, float) else value
