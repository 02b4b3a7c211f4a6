"""Predictions: what they refuse, how they are named, and that files give back what was written."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from metaxcr.adapters.adapted_encoder import AdaptedEncoder
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import Ragged
from metaxcr.errors import UserError
from metaxcr.evaluation import predictions as module
from metaxcr.evaluation.predictions import Predictions, predict
from metaxcr.model.batch import Questions, TaskData, make_batch
from metaxcr.model.choice_model import ChoiceModel, Params


def make(**changes: Any) -> Predictions:
    values: dict[str, Any] = {
        "task": "xcopa",
        "lang": "th",
        "split": "test",
        "data": "repaired",
        "regime": "few-shot",
        "method": "finetune",
        "seed": 1,
        "k": 16,
        "total_labels": 16,
        "ids": ["1", "2", "3"],
        "probabilities": [[0.2, 0.8], [0.5, 0.5], [0.1, 0.2, 0.7]],
        "labels": [1, 1, 2],
    }
    return Predictions(**values | changes)


def test_choices_take_the_most_probable_and_the_first_of_a_tie() -> None:
    found = make()
    assert found.choices == [1, 0, 2]
    assert found.correct.tolist() == [True, False, True]
    assert found.correct.dtype == bool


def test_names_follow_the_run_folder_and_are_unique() -> None:
    assert make().name == "xcopa.th.few-shot-finetune-k16.seed1"
    baseline = make(regime="none", method="similarity", seed=None, k=0)
    assert baseline.name == "xcopa.th.similarity.seedall"
    changes: list[dict[str, Any]] = [
        {},
        {"lang": "vi"},
        {"split": "validation"},
        {"data": "raw"},
        {"split": "validation", "data": "raw"},
        {"regime": "pooled-shots"},
        {"method": "clml"},
        {"seed": 0},
        {"seed": None},
        {"k": 4},
        {"task": "xstorycloze"},
    ]
    assert len({make(**change).name for change in changes}) == len(changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regime": "oneshot"}, "unknown regime 'oneshot'"),
        ({"data": "mended"}, "unknown data 'mended'"),
        ({"ids": [], "probabilities": [], "labels": []}, "no predictions"),
        ({"labels": [1, 1]}, "lengths differ: 3 ids, 3 answers, 2 labels"),
        ({"ids": ["1", "2", "2"]}, "occurs twice"),
        ({"labels": [1, 2, 2]}, "item 2 has label 2 for 2 choices"),
        ({"labels": [-1, 1, 2]}, "item 1 has label -1"),
        ({"probabilities": [[0.2, float("nan")], [0.5, 0.5], [0.1, 0.9, 0.0]]}, "item 1 needs"),
        ({"probabilities": [[0.2, 0.8], [1.0], [0.1, 0.9, 0.0]]}, "item 2 needs two"),
    ],
)
def test_refuses_parts_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**changes)


@pytest.mark.parametrize("seed", [1, None])
def test_reads_what_it_wrote(tmp_path: Path, seed: int | None) -> None:
    original = make(
        seed=seed, ids=["a", "ü", "3"], probabilities=[[1 / 3, 2 / 3], [0.5, 0.5], [0.1, 0.2, 0.7]]
    )
    path = original.write(tmp_path / "predictions")
    assert path.name == f"{original.name}.jsonl"
    assert Predictions.read(path) == original


def test_files_have_the_documented_form_and_leave_nothing_behind(tmp_path: Path) -> None:
    path = make().write(tmp_path)
    first = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    assert first == {"id": "1", "probabilities": [0.2, 0.8], "choice": 1, "label": 1}
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(before) == {f"{make().name}.jsonl", f"{make().name}.meta.json"}
    make().write(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "2"', "not valid JSON"),
        ("[1, 2]", "the file is damaged"),
        (
            '{"id": "2", "probabilities": [0.5, 0.5], "choice": 0}',
            "the file is damaged: label: Field required",
        ),
        ('{"id": "2", "probabilities": ["x", 0.5], "choice": 0, "label": 1}', "the file is damaged"),
        ('{"id": "2", "probabilities": [0.4, 0.6], "choice": 0, "label": 1}', "not the most probable"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = make().write(tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1] = line
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        Predictions.read(path)
    assert caught.value.where == f"{path}:2"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = make().write(tmp_path)
    (tmp_path / f"{make().name}.meta.json").unlink()
    with pytest.raises(UserError, match=r"cannot read predictions: there is no such file .*\.meta\.json"):
        Predictions.read(path)


def test_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().seed = 2  # type: ignore[misc]


def trained(model: ChoiceModel) -> Params:
    """Parameters away from their start, where adapters do nothing."""
    generator = torch.Generator().manual_seed(5)
    return {n: p + 0.2 * torch.randn(p.shape, generator=generator) for n, p in model.params().items()}


def turned(data: TaskData) -> TaskData:
    """The same texts, every question asked in the other direction: as raw files differ from repaired ones."""
    questions: Questions = data.questions
    return replace(data, questions=replace(questions, direction=questions.direction.flip(1)))


@pytest.mark.parametrize("kind", ["dual", "cross"])
@pytest.mark.parametrize("tokens", [1, 40, 4096])
def test_whole_sets_equal_scoring_batch_by_batch(
    toy_task: Callable[..., TaskData],
    toy_model: Callable[..., ChoiceModel],
    toy_store: ActivationCache,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    tokens: int,
) -> None:
    monkeypatch.setattr(module, "FORWARD_TOKENS", tokens)
    model, data = toy_model(kind), toy_task("ragged", choices=(2, 5, 3), kind=kind)
    phi = trained(model)

    (probabilities,), _ = predict(model, phi, [data], toy_store)

    assert len(probabilities) == len(data)
    for begin in range(0, len(data), 5):
        rows = range(begin, min(begin + 5, len(data)))
        scores = model.score(phi, make_batch(data, rows, toy_store))
        for row, expected in zip(rows, torch.softmax(scores, 1).tolist(), strict=True):
            count = (2, 5, 3)[row % 3]
            assert probabilities[row] == pytest.approx(expected[:count], abs=2e-5)
            assert sum(probabilities[row]) == pytest.approx(1.0, abs=count * 1e-6)


def test_raw_and_repaired_files_share_the_encoding(
    toy_task: Callable[..., TaskData],
    toy_model: Callable[..., ChoiceModel],
    toy_store: ActivationCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, repaired = toy_model(), toy_task("set")
    raw, phi, forwarded = turned(repaired), trained(model), []
    forward = AdaptedEncoder.forward

    def counting(self: AdaptedEncoder, trunk: Ragged, *rest: Any) -> torch.Tensor:
        forwarded.append(len(trunk.hidden))
        return forward(self, trunk, *rest)

    monkeypatch.setattr(AdaptedEncoder, "forward", counting)
    both, tokens = predict(model, phi, [repaired, raw], toy_store)
    in_both = sum(forwarded)
    (alone,), tokens_alone = predict(model, phi, [raw], toy_store)
    distinct = sum(toy_store.lengths(repaired.questions.texts))

    assert in_both == tokens == tokens_alone == distinct
    assert both[1] == alone
    assert both[0] != both[1]


def test_labels_have_no_say(
    toy_task: Callable[..., TaskData], toy_model: Callable[..., ChoiceModel], toy_store: ActivationCache
) -> None:
    model, data = toy_model(), toy_task("set", choices=(3,))
    other = replace(data, questions=replace(data.questions, labels=(data.questions.labels + 1) % 3))
    none = replace(data, questions=replace(data.questions, labels=torch.full((len(data),), -1)))
    (one, two, three), _ = predict(model, trained(model), [data, other, none], toy_store)
    assert one == two == three


def test_a_task_that_asks_for_the_implausible_choice_gets_its_probability(
    toy_task: Callable[..., TaskData], toy_model: Callable[..., ChoiceModel], toy_store: ActivationCache
) -> None:
    model, data = toy_model(), toy_task("set", choices=(2, 3))
    implausible = replace(data, questions=replace(data.questions, sign=-1.0))
    (one, two), _ = predict(model, trained(model), [data, implausible], toy_store)
    for plausible, other in zip(one, two, strict=True):
        inverse = [1 / p for p in plausible]  # softmax(-s) is 1 / softmax(s), normalised
        assert other == pytest.approx([x / sum(inverse) for x in inverse], abs=2e-5)


def test_the_parameters_matter_and_stay_as_they_are(
    toy_task: Callable[..., TaskData], toy_model: Callable[..., ChoiceModel], toy_store: ActivationCache
) -> None:
    model, data = toy_model(), toy_task("set")
    phi = trained(model)
    before = {n: p.clone() for n, p in phi.items()}
    assert predict(model, phi, [data], toy_store) != predict(model, model.params(), [data], toy_store)
    assert all(torch.equal(phi[n], before[n]) for n in phi)
