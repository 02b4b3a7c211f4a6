"""What every stage of a run works with, and the shell around the meta-training loop."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from safetensors import SafetensorError

from metaxcr.training.finetune import finetune
from metaxcr.training.episodes import LANGUAGE, is_cross_task
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.sampling.composite_sampler import SourcesAndLanguages
from metaxcr.config.schema import Clml, Config, Meta
from metaxcr.diagnosis.findings import require_bounded, stopped
from metaxcr.encoders.activation_cache import TrunkStore
from metaxcr.errors import UserError
from metaxcr.runs.environment import Costs
from metaxcr.runs.run_dir import RunDir
from metaxcr.runs.run_data import RunData
from metaxcr.runs.progress import Progress
from metaxcr.files import disk_error
from metaxcr.training.loop import Diverged
from metaxcr.training.episodes import Curriculum
from metaxcr.autodiff import Params
from metaxcr.training.loop import MetaState, start
from metaxcr.training.loop import meta_train
from metaxcr.sampling.sampler import Sampler, State
from metaxcr.sampling import make_sampler
from metaxcr.sampling import make_reward_schedule
from metaxcr.sampling.rewards import RewardSchedule
from metaxcr.model.batch import TaskData
from metaxcr.model.build import load_phi, save_phi
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.seeding import derive

INFORMED = ("few-shot", "pooled-shots", "zero-shot-aux")  # regimes, the best informed first
SAMPLER = "sampler/"  # how the names of the sampler's tensors begin in a checkpoint
SHOTS = ("few-shot", "pooled")  # how units of work begin whose CLML learns from shots


@dataclass
class RunContext:
    """What every unit of work needs."""

    config: Config
    material: RunData
    store: TrunkStore
    model: ChoiceModel
    folder: RunDir
    costs: Costs
    progress: Progress

    def load_phi(self, name: str) -> tuple[Params, State]:
        """Read the parameters that a unit of work has left, and the sampler's state if it is there, too."""
        sampler = {SAMPLER + key: tensor for key, tensor in self.sampler.init(0).items()}
        tensors = self.folder.load_state(name, self.model.params(), sampler)
        phi = {k: v.to(self.model.device) for k, v in tensors.items() if not k.startswith(SAMPLER)}
        return phi, {k.removeprefix(SAMPLER): v for k, v in tensors.items() if k.startswith(SAMPLER)}

    @property
    def sampler(self) -> Sampler:
        """The sampler over the run's sources."""
        sizes = [len(data) for data in self.material.english.sources.values()]
        return make_sampler(self.config.sampler, sizes)

    def reinforce(self, arms: int) -> Sampler:
        """A policy over so many arms, with the settings of the section ``sampler``."""
        return make_sampler(self.config.sampler.model_copy(update={"kind": "reinforce"}), [1] * arms)

    @property
    def pay(self) -> RewardSchedule:
        """What the sampler is paid for."""
        return make_reward_schedule(self.config.sampler.reward)

    def encode_pairs(
        self, unit: str, stage: str, draw: BatchSampler, texts: Mapping[str, Sequence[int]], settings: Meta
    ) -> None:
        """Encode the sentence pairs of a stage together, before it begins; arguments as in :meth:`meta`.

        The time that the trunk store takes is booked as the trunk's, the memory as the stage's.
        """
        if settings.alignment:
            with self.costs.stage(stage):
                show = partial(self.progress.update, f"{unit}: sentence pairs")
                draw.encode_pairs(texts, settings.pairs, settings.steps, show)

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
        journal, about, sampler = self.folder.journal, about or {}, sampler or self.sampler
        if journal.unit == unit:
            # what a sampler has gathered grows and shrinks: the shapes to hold it against are the empty ones
            empty = {f"sampler/{name}": tensor for name, tensor in sampler.init(0).items()}
            later = begin.later_tensors(self.folder.state)
            tensors = self.folder.progress_state(begin.tensors() | empty, later)
            begin = MetaState.from_tensors(journal.step, tensors, self.model.device)
        state = begin
        try:
            with self.costs.stage(stage):
                clock = self.costs.clock(stage)
                steps = meta_train(
                    self.model, curriculum, sampler, settings, begin, seed, purpose, self.pay, clock
                )
                for after, event in steps:
                    clock("files")
                    require_bounded(state.step, event)
                    state = after
                    self.costs.add_passes(stage, event.pop("token_passes"), event["passes"])
                    event = {k: _round(v) for k, v in _by_kind(event).items()}
                    self.folder.log({"stage": stage, "seed": seed, "step": state.step - 1, **about, **event})
                    self.progress.update(
                        unit, state.step, settings.steps, f"query loss {event['query_loss']:.3f}"
                    )
                    if state.step % self.config.run.checkpoint_every == 0 and state.step < settings.steps:
                        self.folder.checkpoint(unit, state.step, state.tensors())
                        self.store.flush()
                        self.folder.write_json("costs.json", self.costs.summary())
        except Diverged as error:
            rates = {
                f"{stage}.inner_rate": settings.inner_rate,
                "clml.few_shot_rate"
                if unit.startswith(SHOTS)
                else f"{stage}.outer_rate": settings.outer_rate,
            }
            raise self.diverged(unit, error, rates, {"stage": stage, "seed": seed, **about}, state) from error
        return state

    def adapt(
        self,
        unit: str,
        seed: int,
        curriculum: Curriculum,
        settings: Clml,
        phi: Params,
        sampler_state: State,
        draw: BatchSampler,
        about: dict[str, Any],
    ) -> MetaState:
        """Run CLML from where CTML ended, with a second sampler where the curriculum has languages to choose.

        Args:
            unit: Of work, by which the journal knows it.
            seed: Of the run.
            curriculum: From :func:`metaxcr.training.episodes.cross_lingual`.
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

    def finetune(
        self, unit: str, phi: Params, shots: Sequence[TaskData], draw: BatchSampler, about: dict[str, Any]
    ) -> Params:
        """Fine-tune on all shots, of several languages in turn, with events and costs."""
        about = {"stage": "finetune", "seed": draw.seed, **about}
        with self.costs.stage("finetune"):
            steps = finetune(self.model, phi, shots, self.config.finetune, draw)
            try:
                for step, (tuned, loss, passes) in enumerate(steps):
                    phi = tuned
                    self.costs.add_passes("finetune", passes)
                    self.folder.log({**about, "k": len(shots[0]), "step": step, "loss": _round(loss)})
            except Diverged as error:
                rates = {"finetune.rate": self.config.finetune.rate}
                raise self.diverged(unit, error, rates, about) from error
        return phi

    def diverged(
        self,
        unit: str,
        error: Diverged,
        rates: dict[str, float],
        about: dict[str, Any],
        state: MetaState | None = None,
    ) -> UserError:
        """Keep the last good state, record why the run stops, and return the line that it stops with.

        Args:
            unit: The unit of work.
            error: What was not finite.
            rates: Settings that may be too high, with their values.
            about: Stage, seed and more, for the events file.
            state: Before the bad step; None: the unit has no checkpoints and would begin anew.
        """
        if state is not None:
            self.folder.checkpoint(unit, state.step, state.tensors())
        self.folder.log({**about, "step": error.step, "diverged": error.term, "change": list(rates)})
        self.folder.write_json("costs.json", self.costs.summary())
        return stopped(unit, error, rates, self.folder.path / "checkpoints")

    def publish_target(self, regime: str, seed: int, languages: Iterable[str], phi: Params) -> None:
        """Publish what answers in target languages, unless another regime of the run is better informed."""
        regimes, target = self.config.run.regimes, self.config.target
        best = next(name for name in INFORMED if name in regimes)
        if regime == best and seed == self.config.run.seeds[0]:
            for language in languages:
                if language in target.languages:
                    self.publish(f"target.{target.task}.{language}", phi)

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
