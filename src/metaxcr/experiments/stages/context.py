"""What every stage of a run works with, and the shell around the meta-training loop."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from safetensors import SafetensorError

from metaxcr.adaptation import finetune
from metaxcr.adaptation.curricula import LANGUAGE, is_cross_task
from metaxcr.adaptation.draw import Draw
from metaxcr.adaptation.two_samplers import SourcesAndLanguages
from metaxcr.config import Clml, Config, Meta
from metaxcr.encoders.trunk import TrunkStore
from metaxcr.experiments.environment import Costs
from metaxcr.experiments.folder import RunFolder
from metaxcr.experiments.prepare import Material
from metaxcr.experiments.progress import Progress
from metaxcr.files import disk_error
from metaxcr.meta.inner import Params
from metaxcr.meta.training import Curriculum, MetaState, meta_train, start
from metaxcr.sampling import Sampler, State, make_sampler
from metaxcr.sampling.rewards import Pay
from metaxcr.scoring.batch import TaskData
from metaxcr.scoring.build import load_phi, save_phi
from metaxcr.scoring.model import ChoiceModel
from metaxcr.tasks.seeding import derive


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
        sizes = [len(data) for data in self.material.english.sources.values()]
        return make_sampler(self.config.sampler, sizes)

    def reinforce(self, arms: int) -> Sampler:
        """A policy over so many arms, with the settings of the section ``sampler``."""
        return make_sampler(self.config.sampler.model_copy(update={"kind": "reinforce"}), [1] * arms)

    @property
    def pay(self) -> Pay:
        """What the sampler is paid for."""
        settings = self.config.sampler.reward
        return Pay(settings.kind, settings.sources == "all", settings.every)

    def meta(
        self,
        unit: str,
        stage: str,
        seed: int,
        curriculum: Curriculum,
        settings: Meta,
        begin: MetaState,
        purpose: str,
        about: dict[str, Any] | None = None,
        sampler: Sampler | None = None,
    ) -> MetaState:
        """Run the meta-training loop with events, checkpoints and progress, from the last checkpoint on.

        Args:
            unit: Of work, by which the journal knows it.
            stage: ``ctml`` or ``clml``: what events and costs are booked under.
            seed: Of the run.
            curriculum: Draws the episodes.
            settings: Of the stage.
            begin: The state before the first step.
            purpose: Of the random numbers.
            about: What every event says besides.
            sampler: Where it is not the one over the sources alone.
        """
        journal = self.folder.journal
        if journal.unit == unit:
            begin = MetaState.from_tensors(journal.step, self.folder.state)
        state, sampler = begin, sampler or self.sampler
        with self.costs.stage(stage):
            clock = self.costs.clock(stage)
            steps = meta_train(
                self.model, curriculum, sampler, settings, begin, seed, purpose, self.pay, clock
            )
            for state, event in steps:
                clock("files")
                self.costs.add_passes(stage, event.pop("token_passes"), event["passes"])
                event = {k: _round(v) for k, v in _by_kind(event).items()}
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

    def adapt(
        self,
        unit: str,
        seed: int,
        curriculum: Curriculum,
        settings: Clml,
        phi: Params,
        sampler_state: State,
        draw: Draw,
        about: dict[str, Any],
    ) -> MetaState:
        """Run CLML from where CTML ended, with a second sampler where the curriculum has languages to choose.

        Args:
            unit: Of work, by which the journal knows it.
            seed: Of the run.
            curriculum: From :func:`metaxcr.adaptation.cross_lingual`.
            settings: Of the stage.
            phi: After CTML.
            sampler_state: The source sampler's after CTML.
            draw: What the curriculum draws with.
            about: What every event says besides.
        """
        sampler, languages = self.sampler, len(curriculum.sources) - len(self.material.english.sources)
        if languages:
            sampler = SourcesAndLanguages(
                sampler, self.reinforce(languages), lambda step: is_cross_task(settings, draw, step)
            )
            sampler_state = sampler.join(sampler_state, derive(seed, f"{draw.purpose}/languages"))
        begin = start(phi, sampler_state, settings)
        return self.meta(unit, "clml", seed, curriculum, settings, begin, draw.purpose, about, sampler)

    def finetune(self, phi: Params, shots: Sequence[TaskData], draw: Draw, about: dict[str, Any]) -> Params:
        """Fine-tune on all shots, of several languages in turn, with events and costs."""
        about = {"stage": "finetune", "seed": draw.seed, **about, "k": len(shots[0])}
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


def _by_kind(event: dict[str, Any]) -> dict[str, Any]:
    """Tell the probabilities of sources and of support languages apart; name those that were asked."""
    names = event["probabilities"]
    languages = {n.removeprefix(LANGUAGE): p for n, p in names.items() if n.startswith(LANGUAGE)}
    if not languages:
        return event
    event = {key: value for key, value in event.items() if key != "probabilities"}
    if any(languages.values()):
        return event | {"language_probabilities": languages}
    return event | {"probabilities": {n: p for n, p in names.items() if not n.startswith(LANGUAGE)}}


def _round(value: Any) -> Any:
    if isinstance(value, list):
        return [_round(v) for v in value]
    return round(value, 6) if isinstance(value, float) else value
