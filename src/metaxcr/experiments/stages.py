"""The units of work of a run: CTML, CLML, few-shot adaptation, evaluation. Each can be repeated with the same result."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from metaxcr.adaptation import cross_lingual, cross_task, finetune
from metaxcr.adaptation.curricula import Draw, halves
from metaxcr.config import Clml, Config, Meta
from metaxcr.encoders.trunk import TrunkStore
from metaxcr.evaluation.predict import predict
from metaxcr.evaluation.predictions import Predictions
from metaxcr.experiments.environment import Costs
from metaxcr.experiments.folder import RunFolder
from metaxcr.experiments.prepare import Material
from metaxcr.experiments.progress import Progress
from metaxcr.meta.inner import Params
from metaxcr.meta.optim import Averager
from metaxcr.meta.training import Curriculum, MetaState, meta_train, start
from metaxcr.sampling import Reinforce, Sampler, Uniform
from metaxcr.scoring.batch import TaskData
from metaxcr.scoring.build import build_model, load_phi, save_phi
from metaxcr.scoring.model import ChoiceModel
from metaxcr.tasks.seeding import derive


@dataclass
class Stages:
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

    # --- CTML -------------------------------------------------------------------------------------------------

    def ctml(self, unit: str, seed: int) -> None:
        """Cross-task meta-learning on the English sources: once per seed, for all languages and regimes."""
        settings = self.config.ctml
        draw = Draw(self.store, seed, "ctml")
        curriculum = cross_task(self.material.english, self.material.parallel, settings, draw)
        fresh = build_model(self.config, self.model.adapted.encoder, seed).params()
        begin = start(fresh, self.sampler.init(derive(seed, "sampler")))
        state = self._meta(unit, "ctml", seed, curriculum, settings, begin)
        phi = Averager.result(state.average, state.phi)
        self.folder.save_state(f"ctml.seed{seed}", {**phi, **_prefixed("sampler/", state.sampler)})
        if seed == self.config.run.seeds[0]:
            self._publish("meta", phi)

    def ctml_result(self, seed: int) -> tuple[Params, dict[str, Any]]:
        """phi after CTML, and the sampler's state, from which CLML goes on."""
        tensors = self.folder.load_state(f"ctml.seed{seed}")
        sampler = {k.removeprefix("sampler/"): v for k, v in tensors.items() if k.startswith("sampler/")}
        return {k: v for k, v in tensors.items() if not k.startswith("sampler/")}, sampler

    # --- CLML -------------------------------------------------------------------------------------------------

    def clml(self, unit: str, seed: int) -> None:
        """Cross-lingual meta-learning on auxiliary languages: once per seed, for all tested languages."""
        settings, material = self.config.clml, self.material
        draw = Draw(self.store, seed, "clml")
        curriculum = cross_lingual(
            material.english, material.auxiliary, material.auxiliary, material.english.reward, material.parallel,
            settings, draw,
        )  # fmt: skip
        phi, sampler_state = self.ctml_result(seed)
        state = self._meta(unit, "clml", seed, curriculum, settings, start(phi, sampler_state))
        self.folder.save_state(f"clml.seed{seed}", Averager.result(state.average, state.phi))

    # --- few-shot ---------------------------------------------------------------------------------------------

    def few_shot(self, unit: str, seed: int, language: str) -> None:
        """CLML towards one language with its shots, then fine-tuning on all of them."""
        material, k = self.material, self.config.target.k
        shots = material.shot_pool[language].subset(material.shots[seed])
        purpose = f"few-shot/{language}"
        draw = Draw(self.store, seed, purpose)
        settings = self.config.clml.model_copy(update={"steps": self.config.clml.few_shot_steps})
        english = material.english
        reward = halves(shots) if k >= 8 else english.reward  # DESIGN: below 8 shots the reward is English
        curriculum = cross_lingual(
            english, {language: shots}, {"en": english.sources[english.target]}, reward, {}, settings, draw
        )
        phi, sampler_state = self.ctml_result(seed)
        state = self._meta(
            unit, "clml", seed, curriculum, settings, start(phi, sampler_state), purpose, {"language": language}
        )
        phi = Averager.result(state.average, state.phi)
        for step, (tuned, loss, passes) in enumerate(
            finetune(self.model, phi, shots, self.config.finetune, Draw(self.store, seed, f"finetune/{language}"))
        ):
            phi = tuned
            self.costs.add_passes("finetune", passes)
            self.folder.log(
                {"stage": "finetune", "seed": seed, "language": language, "k": k, "step": step, "loss": _round(loss)}
            )
        self.folder.save_state(f"few-shot.{language}.seed{seed}", phi)
        if seed == self.config.run.seeds[0]:
            self._publish(f"target.{self.config.target.task}.{language}", phi)

    # --- evaluation -------------------------------------------------------------------------------------------

    def evaluate(self, method: str, regime: str, seed: int | None) -> None:
        """Predict every evaluated language and write the predictions."""
        keys = sorted({language for language, _ in self.material.evaluation})
        for done, language in enumerate(keys):
            if regime == "few-shot" and language not in self.material.shot_pool:
                continue
            if regime == "zero-shot-aux" and language in self.material.auxiliary:
                continue
            self._predict(language, method, regime, seed)
            self.progress.update(f"evaluate {method} {regime} seed {seed}", done + 1, len(keys))

    def _predict(self, language: str, method: str, regime: str, seed: int | None) -> None:
        kinds = [kind for lang, kind in self.material.evaluation if lang == language]
        model = self.model
        if regime == "none":
            model = build_model(self.config, self.model.adapted.encoder, 0, kind="dual")
            sets, phi = [self.material.baseline[language, kind] for kind in kinds], model.params()
        else:
            sets = [self.material.evaluation[language, kind] for kind in kinds]
            phi = self._phi(regime, seed, language)
        probabilities, tokens = predict(model, phi, sets, self.store)
        self.costs.add_passes("evaluate", tokens)
        for kind, data, p in zip(kinds, sets, probabilities, strict=True):
            self._record(data, kind, method, regime, seed, p).write(self.folder.path / "predictions")

    def _phi(self, regime: str, seed: int | None, language: str) -> Params:
        if regime == "few-shot":
            return self.folder.load_state(f"few-shot.{language}.seed{seed}")
        if regime == "zero-shot-aux":
            return self.folder.load_state(f"clml.seed{seed}")
        assert seed is not None
        return self.ctml_result(seed)[0]

    def _record(
        self, data: TaskData, kind: str, method: str, regime: str, seed: int | None, probabilities: list[list[float]]
    ) -> Predictions:
        k = self.config.target.k if regime == "few-shot" else 0
        auxiliary = sum(len(d) for d in self.material.auxiliary.values())
        return Predictions(
            task=data.task,
            lang=data.language,
            split=self.config.evaluate.split,
            data=kind,
            regime=regime,
            method=method,
            seed=seed,
            k=k,
            total_labels=auxiliary if regime == "zero-shot-aux" else k,
            ids=data.ids,
            probabilities=probabilities,
            labels=data.questions.labels.tolist(),
        )

    # --- shared -----------------------------------------------------------------------------------------------

    def _meta(
        self, unit: str, stage: str, seed: int, curriculum: Curriculum, settings: Meta | Clml, begin: MetaState,
        purpose: str | None = None, about: dict[str, Any] | None = None,
    ) -> MetaState:  # fmt: skip
        """Run the meta-training loop with events, checkpoints and progress; continue where a checkpoint left it."""
        journal = self.folder.journal
        if journal.unit == unit:
            begin = MetaState.from_tensors(journal.step, self.folder.state)
        state = begin
        steps: Iterator[tuple[MetaState, dict[str, Any]]] = meta_train(
            self.model, curriculum, self.sampler, settings, begin, seed, purpose or stage
        )
        for state, event in steps:
            self.costs.add_passes(stage, event.pop("token_passes"))
            event = {k: _round(v) for k, v in event.items()}
            self.folder.log({"stage": stage, "seed": seed, "step": state.step - 1, **(about or {}), **event})
            note = f"query loss {event['query_loss']:.3f}"
            self.progress.update(f"{unit}", state.step, settings.steps, note)
            if state.step % self.config.run.checkpoint_every == 0 and state.step < settings.steps:
                self.folder.checkpoint(unit, state.step, state.tensors())
                self.folder.write_json("costs.json", self.costs.summary())
        return state

    def _publish(self, name: str, phi: Params) -> None:
        """Write an adapter where users and :meth:`metaxcr.MetaXCR.from_pretrained` look for it, and read it back."""
        folder = self.folder.path / "adapters" / name
        save_phi(folder, name, phi, self.config, self.model.adapted.encoder)
        load_phi(folder, self.model)


def _prefixed(prefix: str, tensors: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _round(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
