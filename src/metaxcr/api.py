"""The Python API: load a trained model, rank choices with it, adapt it, save it."""

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor

from metaxcr.adapters.adapter_files import ADAPTERS
from metaxcr.config.schema import Config, Encoder
from metaxcr.data.example import Example, Phrased, inline_example, phrase_inline
from metaxcr.data.phrasing import phrase
from metaxcr.data.registry import LoadedSplit
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.encoders.loading import load_encoder
from metaxcr.errors import MetaXCRWarning, UserError
from metaxcr.evaluation.predictions import predict
from metaxcr.files import temporary_folder
from metaxcr.hardware import AUTO, choose_device, describe_precision, memory_errors
from metaxcr.hub import upload
from metaxcr.model.batch import encode_task
from metaxcr.model.build import build_model, load_phi, memory_store, untrained_model
from metaxcr.model.choice_model import ChoiceModel, Params
from metaxcr.saved_model import EMBEDDED_MODEL, META, find_model, read_adaptation, read_settings, write_model

if TYPE_CHECKING:
    from metaxcr.fewshot.adaptation import Settings, Start
    from metaxcr.fewshot.nearest_examples import Index, NearExample
    from metaxcr.fewshot.user_examples import UserExamples

OWN = "own"  # as the name of a language adapter: the one of the texts' own language


class MetaXCR:
    """A frozen encoder with trained adapters that ranks choices by plausibility; see :meth:`from_pretrained`.

    ``adaptation`` is the summary in ``adaptation.json`` of a model that :meth:`adapt` made, else None.
    """

    def __init__(self, config: Config, encoder: FrozenEncoder, folder: Path) -> None:
        self.config, self.folder = config, folder
        self._encoder = encoder
        self._model = build_model(config, encoder, config.run.seeds[0], inference=True)
        self._phi = {META: load_phi(folder / ADAPTERS / META, self._model)}
        prefix = f"target.{config.target.task}."
        for path in sorted((folder / ADAPTERS).glob(f"{prefix}*")):
            self._phi[path.name.removeprefix(prefix)] = load_phi(path, self._model)
        self._warned: set[str] = set()
        self.adaptation: dict[str, Any] | None = read_adaptation(folder)
        self._temporary: object = None  # a temporary folder that is needed as long as the model

    @classmethod
    def embedded(cls, *, device: str = AUTO, dtype: str | None = None) -> Self:
        """Load the meta-adapter that comes with the package, for the embedded encoder."""
        return cls.from_pretrained(EMBEDDED_MODEL, device=device, dtype=dtype)

    @classmethod
    def from_pretrained(
        cls,
        path_or_hub_id: str | Path,
        *,
        revision: str | None = None,
        device: str = AUTO,
        dtype: str | None = None,
    ) -> Self:
        """Load a run folder, a folder written by :meth:`save_pretrained`, or a model on the Hugging Face hub.

        No remote code is run, and nothing is unpickled.

        Args:
            path_or_hub_id: A folder, or ``owner/name`` on the hub.
            revision: Commit, tag or branch on the hub.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
            dtype: Number format of the encoder's layers: ``auto`` (what the device computes fastest),
                ``float32``, ``bfloat16`` or ``float16``; None: as in the model's settings.

        Raises:
            UserError: There is no such folder or model, it is not trained, or its files do not fit.
        """
        folder = find_model(path_or_hub_id, revision)
        place, config = choose_device(device), read_settings(folder)
        if dtype is not None:
            settings = Encoder(**{**dict(config.encoder), "dtype": dtype})
            config = config.model_copy(update={"encoder": settings})
        settings = config.encoder
        encoder = load_encoder(settings.name, prefix=settings.prefix, revision=settings.revision)
        return cls(config, encoder.to(place), folder)

    @property
    def account(self) -> dict[str, Any] | None:
        """Former name of :attr:`adaptation`."""
        return self.adaptation

    @property
    def machine(self) -> str:
        """The device, the number format and the reason for it, as text."""
        return describe_precision(self.config.encoder.dtype, self._model.device)

    @property
    def languages(self) -> list[str]:
        """Sorted ISO 639-1 codes of all languages that the training used."""
        target = self.config.target
        known = {"en", *target.languages, *self.config.adapters.language, *self._phi} - {META}
        known.update(target.auxiliary.languages if target.auxiliary else ())
        known.update(target.parallel.languages if target.parallel else ())
        return sorted(known)

    @property
    def start(self) -> "Start":
        """The meta-trained model, from which :meth:`adapt` starts."""
        from metaxcr.fewshot.adaptation import Start

        return Start(self.config, self._model, self._phi[META])

    def adapter(self, language: str, *, unseen: bool = False) -> str:
        """Name of the adapter that is used for a language: ``target.<task>.<language>``, or ``meta``.

        A language that is none of :attr:`languages` is an error, unless ``unseen`` is set.
        """
        if language not in self.languages and not unseen:
            fix = f"the model knows {', '.join(self.languages)}"
            raise UserError(f"unknown language {language!r}", None, fix)
        return f"target.{self.config.target.task}.{language}" if language in self._phi else META

    def rank(
        self,
        context: str,
        choices: Sequence[str],
        *,
        question: str | None = None,
        language: str,
        language_adapter: str | None = OWN,
    ) -> list[float]:
        """Return how plausible each choice is, given the context.

        Args:
            context: What is known: a premise, a situation.
            choices: Two or more texts.
            question: ``"effect"``: what happened as a result; ``"cause"``: what was the cause; None: which
                choice goes with the context; anything else is a question in words.
            language: ISO 639-1 code of context and choices.
            language_adapter: Language whose language adapter is active in the encoder: ``"own"`` is that of
                the texts, if there is one; None is none; another code is another language's.

        Returns:
            Probabilities in the order of the choices; they sum to 1. See :meth:`calibrated`.

        Raises:
            UserError: Fewer than two choices, an empty text, a language that the model does not know, or one
                without a language adapter.
        """
        given = {"context": context, "choices": choices, "question": question, "language": language}
        return self.rank_many([given], language_adapter=language_adapter)[0]

    def rank_many(
        self, examples: Sequence[Mapping[str, Any] | Example], *, language_adapter: str | None = OWN
    ) -> list[list[float]]:
        """Rank the choices of many questions, encoding them together: much faster than one by one.

        Examples are mappings with the arguments of :meth:`rank`, or :class:`metaxcr.data.example.Example`;
        languages may be mixed. An error names the example by its position from 0.
        """
        questions = _questions(examples)
        ranked: list[list[float]] = [[] for _ in questions]
        for language, rows in _rows_by_language(questions).items():
            if self.unreliable(language):
                self._warn_once(
                    f"unreliable {language}",
                    f"the probabilities in {language!r} are not reliable: the examples that this model was "
                    "adapted to do not show that they are better than guessing",
                )
            phi, acting = self._trained_phi(language), self.acting(language, language_adapter)
            answers = self._probabilities([questions[i] for i in rows], phrase_inline, phi, acting)
            if (temperature := self._temperature(language)) is not None:
                from metaxcr.fewshot.calibration import tempered

                answers = [[round(float(p), 6) for p in row] for row in tempered(answers, temperature)]
            for i, answer in zip(rows, answers, strict=True):
                ranked[i] = answer
        return ranked

    def nearest(
        self,
        examples: Sequence[Mapping[str, Any] | Example],
        chosen: Sequence[int],
        *,
        k: int = 3,
        root: Path | None = None,
    ) -> "list[list[NearExample]]":
        """Return the ``k`` source examples nearest to each decision, the nearest first.

        Args:
            examples: As for :meth:`rank_many`.
            chosen: The choice of each, counted from 0.
            k: Number of neighbours.
            root: Data root, for their texts.
        """
        from metaxcr.fewshot.nearest_examples import decision_vectors

        index, questions = self._index, _questions(examples)
        found: list[list[NearExample]] = [[] for _ in questions]
        for rows in _rows_by_language(questions).values():
            store = memory_store(self._model, self.config)
            data = encode_task([questions[i] for i in rows], phrase_inline, store, kind=self._model.kind)
            picked = [chosen[i] for i in rows]
            vectors = decision_vectors(self._model, self._phi[META], data, picked, store)
            for i, near in zip(rows, index.nearest(vectors, k, root), strict=True):
                found[i] = near
        return found

    @cached_property
    def _index(self) -> "Index":
        from metaxcr.fewshot.nearest_examples import read_index

        return read_index(self.folder)

    def adapt(
        self,
        examples: "UserExamples | Sequence[Mapping[str, Any]] | str | Path",
        language: str | None = None,
        *,
        name: str = "own",
        out: str | Path | None = None,
        settings: "Settings | None" = None,
        force: bool = False,
        progress: Callable[[str, int, int], None] = lambda label, done, total: None,
        command: str = "",
    ) -> Self:
        """Adapt to a few dozen labelled examples, and measure by cross-validation whether that helps.

        Args:
            examples: A file that ``metaxcr tasks add`` reads, or mappings with the arguments of :meth:`rank`
                and ``label``, counted from 0.
            language: Of the examples (ISO 639-1).
            name: Name of the examples.
            out: Folder for the new model; default: none, see :meth:`save_pretrained`.
            settings: Seeds, folds, target accuracy; see :class:`metaxcr.fewshot.adaptation.Settings`.
            force: Replace an existing model in ``out``.
            progress: Called with (what is being done, steps done, steps in all).
            command: Recorded with the model.

        Returns:
            The model that is kept: the adapted one only if the examples show it to be better. Its
            :attr:`adaptation` has the cross-validated results.

        Raises:
            UserError: The examples cannot be used, or the folder cannot be written.
        """
        from metaxcr.fewshot.adapt_run import adapt_to_examples
        from metaxcr.fewshot.user_examples import as_user_examples

        checked = as_user_examples(examples, language)
        temporary = temporary_folder() if out is None else None
        folder = Path(temporary.name) / name if temporary else Path(str(out))
        adapt_to_examples(
            checked, name, self.start, self.folder, folder, settings,
            force=force, progress=progress, command=command,
        )  # fmt: skip
        adapted = type(self)(read_settings(folder), self._encoder, folder)
        adapted._temporary = temporary
        return adapted

    def score(
        self, split: LoadedSplit, *, untrained: bool = False, language_adapter: str | None = OWN
    ) -> list[list[float]]:
        """Return for every example of a task's split the probability that each choice is the *plausible* one.

        The split is from :func:`metaxcr.data.registry.load`. ``untrained`` uses the similarity of the
        encoder's sentence vectors instead: the baseline.
        """
        acting = self.acting(split.language, language_adapter)
        if untrained:
            model = untrained_model(self.config, self._encoder)
            phi = model.params()
        else:
            model, phi = self._model, self._trained_phi(split.language, unseen=True)
        return self._probabilities(split.examples, lambda e: phrase(e, split.spec), phi, acting, model)

    def acting(self, language: str, language_adapter: str | None = OWN) -> str:
        """The language whose language adapter is active for texts in ``language``; empty for none."""
        available = self._model.adapted.languages
        if language_adapter == OWN:
            return language if language in available else ""
        if language_adapter is not None and language_adapter not in available:
            fix = f"the model has those of {', '.join(sorted(available)) or 'no language'}"
            raise UserError(f"no language adapter {language_adapter!r}", None, fix)
        return language_adapter or ""

    def stack(self, language: str, language_adapter: str | None = OWN) -> list[str]:
        """Names of the adapters that are active for texts in a language, from below."""
        return self._model.adapted.stack(self.acting(language, language_adapter))

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the model with a model card (README.md), for :meth:`from_pretrained`; return the folder."""
        write_model(self.config, self.folder, Path(folder), self.languages)
        return Path(folder)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        message: str = "Upload MetaXCR",
    ) -> str:
        """Upload the model with its card to the Hugging Face hub, and return the address of the commit.

        Args:
            repo_id: ``owner/name``; created if missing.
            private: Whether a new repository is private; None: the owner's default.
            token: Access token; default: the one that ``hf auth login`` stored.
            message: Of the commit.

        Raises:
            UserError: The hub cannot be reached or refuses.
        """
        with temporary_folder() as temporary:
            folder = self.save_pretrained(Path(temporary))
            return upload(folder, repo_id, private=private, token=token, message=message)

    def calibrated(self, language: str) -> bool:
        """Whether :meth:`rank` returns probabilities in a language that were calibrated on held-out examples.

        If not, only the order of the choices is meant.
        """
        return self._temperature(language) is not None

    def unreliable(self, language: str) -> str | None:
        """Why the probabilities in a language are known not to be reliable, or None.

        Known only for a model that :meth:`adapt` made, in the language of its examples, if the held-out
        answers do not show the probabilities to be better than guessing.
        """
        calibration = self._calibration(language)
        if calibration is None or calibration["temperature"] is not None:
            return None
        return str(calibration["sentence"])

    def _calibration(self, language: str) -> dict[str, Any] | None:
        if self.adaptation is None or self.adaptation["language"] != language:
            return None
        found: dict[str, Any] = self.adaptation["calibration"]
        return found

    def _temperature(self, language: str) -> float | None:
        calibration = self._calibration(language)
        return None if calibration is None else calibration["temperature"]

    def _warn_once(self, key: str, text: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            _warn(text)

    def _trained_phi(self, language: str, *, unseen: bool = False) -> Params:
        """Trained parameters for a language; warns once if they are not the language's own."""
        name = self.adapter(language, unseen=unseen)
        selected = self._calibration(language) is not None  # meta was selected by cross-validation
        if name == META and not selected:
            new = "" if language in self.languages else ", a language that was not trained on"
            self._warn_once(language, f"no adapter for {language!r}{new}: adapters/meta is used")
        return self._phi[META if name == META else language]

    def _probabilities(
        self,
        examples: Sequence[Example],
        words: Callable[[Example], Phrased],
        phi: Mapping[str, Tensor],
        acting: str,
        model: ChoiceModel | None = None,
    ) -> list[list[float]]:
        model = model or self._model
        store = memory_store(model, self.config)
        data = encode_task(examples, words, store, kind=model.kind, language=acting)
        if store.stats.cut_texts:
            cut = f"{store.stats.cut_texts} of {store.stats.texts} texts were cut"
            _warn(f"{cut} at {store.max_tokens} tokens")
        with memory_errors(model.device):
            probabilities = predict(model, phi, [data], store)[0][0]
        return [[p / sum(row) for p in row] for row in probabilities]


def _questions(examples: Sequence[Mapping[str, Any] | Example]) -> list[Example]:
    """Questions with their positions as ids; mappings are checked."""
    return [
        replace(given, id=str(i)) if isinstance(given, Example) else inline_example(i, given)
        for i, given in enumerate(examples)
    ]


def _rows_by_language(examples: Sequence[Example]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for i, example in enumerate(examples):
        rows.setdefault(example.language, []).append(i)
    return rows


def _warn(text: str) -> None:
    """Warn at the line outside this file that led here: the user's own."""
    level = 1
    while sys._getframe(level).f_code.co_filename == __file__:
        level += 1
    warnings.warn(text, MetaXCRWarning, stacklevel=level + 1)
