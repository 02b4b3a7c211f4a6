"""What every stage of a run works with: training with events, checkpoints, costs and progress."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from safetensors import SafetensorError

from metaxcr.autodiff import Params
from metaxcr.config.schema import Config, Meta
from metaxcr.diagnosis.findings import require_bounded, stopped
from metaxcr.encoders.activation_cache import TrunkStore
from metaxcr.errors import UserError
from metaxcr.files import disk_error
from metaxcr.model.batch import TaskData
from metaxcr.model.build import load_phi, save_phi
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.runs.environment import Costs
from metaxcr.runs.progress import Progress
from metaxcr.runs.run_data import RunData
from metaxcr.runs.run_dir import RunDir
from metaxcr.sampling import make_reward_schedule, make_sampler
from metaxcr.sampling.sampler import LANGUAGE, Sampler, State
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.training.episodes import Episodes, Texts
from metaxcr.training.finetune import choose_tuning, finetune
from metaxcr.training.loop import Diverged, MetaState, MetaTrainer, with_present_names

INFORMED = ("few-shot", "pooled-shots", "zero-shot-aux")  # regimes, the best informed first
SAMPLER = "sampler/"  # prefix of the sampler's tensors in a checkpoint
SHOTS = ("few-shot", "pooled")  # prefixes of units of work whose CLML learns from shots


@dataclass
class RunContext:
    """What every unit of work needs."""

    config: Config
    data: RunData
    store: TrunkStore
    model: ChoiceModel
    folder: RunDir
    costs: Costs
    progress: Progress

    def load_phi(self, name: str) -> tuple[Params, State]:
        """Read the parameters that a unit of work has left, and the sampler's state if it left one."""
        sampler = {SAMPLER + key: tensor for key, tensor in self.sampler.init(0).items()}
        tensors = self.folder.load_state(name, self.model.params(), sampler)
        phi = {k: v.to(self.model.device) for k, v in tensors.items() if not k.startswith(SAMPLER)}
        return phi, {k.removeprefix(SAMPLER): v for k, v in tensors.items() if k.startswith(SAMPLER)}

    @property
    def sampler(self) -> Sampler:
        """The sampler over the run's sources."""
        return make_sampler(self.config.sampler, [len(data) for data in self.data.english.sources.values()])

    def meta_train(
        self,
        unit: str,
        stage: str,
        episodes: Episodes,
        settings: Meta,
        batches: BatchSampler,
        phi: Params,
        sampler: Sampler,
        sampler_state: State,
        about: dict[str, Any],
    ) -> MetaState:
        """Run the meta-training loop with events, checkpoints and progress, from the last checkpoint on.

        Args:
            unit: Name of the unit of work in the journal.
            stage: ``ctml`` or ``clml``, for events and costs.
            episodes: What is learned from.
            settings: Of the stage.
            batches: Whose seed and purpose the random numbers come from.
            phi: The parameters to start from.
            sampler: Picks the source of an episode.
            sampler_state: Its state at the start.
            about: Further entries of every event.
        """
        about = {"stage": stage, "seed": batches.seed, **about}
        timer = self.costs.timer(stage)
        trainer = MetaTrainer(
            self.model,
            episodes,
            sampler,
            settings,
            batches.seed,
            batches.purpose,
            make_reward_schedule(self.config.sampler.reward, fresh=stage == "ctml"),
            timer,
        )
        state = self._last_checkpoint(unit, trainer.start(phi, sampler_state), sampler)
        try:
            with self.costs.stage(stage):
                for after, event in trainer.train(state):
                    timer("files")
                    require_bounded(state.step, event)
                    state = after
                    self._record(unit, stage, settings, state, event, about)
        except Diverged as error:
            outer = "clml.few_shot_lr" if unit.startswith(SHOTS) else f"{stage}.outer_lr"
            rates = {f"{stage}.inner_lr": settings.inner_lr, outer: settings.outer_lr}
            raise self.diverged(unit, error, rates, about, state) from error
        return state

    def _last_checkpoint(self, unit: str, start: MetaState, sampler: Sampler) -> MetaState:
        """The state that an interrupted unit of work goes on from, else the start."""
        journal = self.folder.journal
        if journal.unit != unit:
            return start
        # the sampler's state grows and shrinks: shapes are checked against the empty one
        empty = {SAMPLER + name: tensor for name, tensor in sampler.init(0).items()}
        self.folder.state = with_present_names(self.folder.state)
        later = start.later_tensors(self.folder.state)
        tensors = self.folder.progress_state(start.tensors() | empty, later)
        return MetaState.from_tensors(journal.step, tensors, self.model.device)

    def _record(
        self,
        unit: str,
        stage: str,
        settings: Meta,
        state: MetaState,
        event: dict[str, Any],
        about: dict[str, Any],
    ) -> None:
        """Write an event, show progress, and now and then write a checkpoint."""
        self.costs.add_passes(stage, event.pop("token_passes"), event["passes"])
        event = {k: _round(v) for k, v in _by_kind(event).items()}
        self.folder.log({"stage": stage, "seed": about["seed"], "step": state.step - 1, **about, **event})
        self.progress.update(unit, state.step, settings.steps, f"query loss {event['query_loss']:.3f}")
        if state.step % self.config.run.checkpoint_every == 0 and state.step < settings.steps:
            self.folder.checkpoint(unit, state.step, state.tensors())
            self.store.flush()
            self.folder.write_json("costs.json", self.costs.summary())

    def encode_pairs(
        self, unit: str, stage: str, batches: BatchSampler, texts: Texts, settings: Meta
    ) -> None:
        """Encode the sentence pairs of all episodes of a stage together, which is faster than one by one.

        The trunk's time is booked as the trunk's, the memory as the stage's.
        """
        if settings.alignment:
            with self.costs.stage(stage):
                show = partial(self.progress.update, f"{unit}: sentence pairs")
                batches.encode_pairs(texts, settings, show)

    def finetune(
        self, unit: str, phi: Params, shots: Sequence[TaskData], batches: BatchSampler, about: dict[str, Any]
    ) -> Params:
        """Fine-tune on all shots, of several languages in turn, with events and costs."""
        about = {"stage": "finetune", "seed": batches.seed, **about}
        settings = self.config.finetune.for_shots(len(shots[0]))
        with self.costs.stage("finetune"):
            try:
                settings, losses, passes = choose_tuning(self.model, phi, shots, settings, batches)
                if losses:
                    self.costs.add_passes("finetune", passes)
                    chosen = {"held_out_losses": _round(losses), "steps": settings.steps, "lr": settings.lr}
                    self.folder.log({**about, "k": len(shots[0]), **chosen})
                steps = finetune(self.model, phi, shots, settings, batches)
                for step, (tuned, loss, passes) in enumerate(steps):
                    phi = tuned
                    self.costs.add_passes("finetune", passes)
                    self.folder.log({**about, "k": len(shots[0]), "step": step, "loss": _round(loss)})
            except Diverged as error:
                raise self.diverged(unit, error, {"finetune.lr": settings.lr}, about) from error
        return phi

    def diverged(
        self,
        unit: str,
        error: Diverged,
        rates: dict[str, float],
        about: dict[str, Any],
        state: MetaState | None = None,
    ) -> UserError:
        """Keep the last good state, record why the run stops, and return the error to raise.

        Args:
            unit: The unit of work.
            error: What was not finite.
            rates: Learning rates that may be too high, with their values.
            about: Stage, seed and more, for the events file.
            state: Before the bad step; None: the unit has no checkpoints and starts again.
        """
        if state is not None:
            self.folder.checkpoint(unit, state.step, state.tensors())
        self.folder.log({**about, "step": error.step, "diverged": error.term, "change": list(rates)})
        self.folder.write_json("costs.json", self.costs.summary())
        return stopped(unit, error, rates, self.folder.path / "checkpoints")

    def publish_target(self, regime: str, seed: int, languages: Iterable[str], phi: Params) -> None:
        """Publish the adapters of target languages, unless another regime of the run is better informed."""
        regimes, target = self.config.run.regimes, self.config.target
        best = next(name for name in INFORMED if name in regimes)
        if regime == best and seed == self.config.run.seeds[0]:
            for language in languages:
                if language in target.languages:
                    self.publish(f"target.{target.task}.{language}", phi)

    def publish(self, name: str, phi: Params) -> None:
        """Write an adapter where ``MetaXCR.from_pretrained`` finds it, and read it back."""
        folder = self.folder.path / "adapters" / name
        try:
            save_phi(folder, name, phi, self.config, self.model.adapted.encoder)
        except (OSError, SafetensorError) as error:
            raise disk_error(error, folder) from error
        load_phi(folder, self.model)


def _by_kind(event: dict[str, Any]) -> dict[str, Any]:
    """Name probabilities by what the episode chose from: sources or support languages."""
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
    if isinstance(value, dict):
        return {key: _round(v) for key, v in value.items()}
    return round(value, 6) if isinstance(value, float) else value
