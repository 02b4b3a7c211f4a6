from typing import Any

import pytest
from pydantic import ValidationError

from metaxcr.config.schema import ONLY_FOR, Adapters, Clml, Config, Ctml, Meta, Section
from metaxcr.meta.learners import LEARNERS, make_learner

SMALL: dict[str, Any] = {
    "sources": [{"task": "a"}],
    "target": {"task": "t", "languages": ["sw"], "english": {"task": "e"}},
}


def sections(model: type[Section]) -> set[type[Section]]:
    """All sections of the schema."""
    found = {model}
    for field in model.model_fields.values():
        for option in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(option, type) and issubclass(option, Section):
                found |= sections(option)
    return found


def test_sources_and_target_are_all_that_has_to_be_given() -> None:
    assert Config.model_validate(SMALL).sources[0].task == "a"
    for key in SMALL:
        with pytest.raises(ValidationError):
            Config.model_validate({k: v for k, v in SMALL.items() if k != key})


@pytest.mark.parametrize("section", sorted(sections(Config), key=lambda s: s.__name__))
def test_every_section_is_strict_and_immutable(section: type[Section]) -> None:
    assert section.model_config.get("extra") == "forbid"
    assert section.model_config.get("frozen")


def test_the_defaults_are_valid_and_survive_a_round_trip() -> None:
    config = Config.model_validate(SMALL)
    assert Config.model_validate(config.model_dump(mode="json")) == config


def test_defaults_are_not_shared() -> None:
    one, other = Config.model_validate(SMALL), Config.model_validate(SMALL)
    one.run.seeds.append(9)
    assert 9 not in other.run.seeds


def test_the_english_parts_fill_the_data() -> None:
    english = Config.model_validate(SMALL).target.english
    assert english.source + english.query + english.reward == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("lora", {"nonlinearity": "gelu"}),
        ("full", {"bottleneck": 8}),
        ("full", {"nonlinearity": "gelu"}),
        ("full", {"scaling": 2.0}),
        ("full", {"mixture": True}),
        ("none", {"layers": "all"}),
        ("none", {"layers": []}),
        ("none", {"bottleneck": 8}),
        ("none", {"mixture": True}),
    ],
)
def test_what_a_kind_of_adapter_would_ignore_is_refused(kind: str, setting: dict[str, Any]) -> None:
    (key,) = setting
    with pytest.raises(ValidationError, match=f"{key!r} has no effect with kind {kind!r}"):
        Adapters.model_validate({"kind": kind, **setting})
    assert Adapters.model_validate({"kind": kind}).kind == kind


@pytest.mark.parametrize("stage", ["ctml", "clml"])
def test_without_an_adapter_there_is_nothing_to_align(stage: str) -> None:
    settings = {**SMALL, stage: {"alignment": 0.5}}
    assert Config.model_validate(settings)
    with pytest.raises(ValidationError, match=rf"{stage}\.alignment has no effect with adapters\.kind none"):
        Config.model_validate({**settings, "adapters": {"kind": "none"}})


@pytest.mark.parametrize("name", sorted(LEARNERS))
@pytest.mark.parametrize("stage", [Ctml, Clml])
def test_every_learner_can_be_chosen(stage: type[Meta], name: str) -> None:
    assert stage.model_validate({"learner": name, "tasks_per_step": 8}).learner == name


@pytest.mark.parametrize("name", sorted(LEARNERS))
@pytest.mark.parametrize("stage", [Ctml, Clml])
@pytest.mark.parametrize(
    "setting",
    [{"first_order": True}, {"meta_params_lr": 0.5}, {"imaml": {"strength": 2.0}}, {"inner_steps": 3}],
)
def test_what_a_learner_would_ignore_is_refused(
    stage: type[Meta], name: str, setting: dict[str, Any]
) -> None:
    settings = {"learner": name, "tasks_per_step": 2, **setting}
    (key,) = setting
    if name in ONLY_FOR[key]:
        learner, plain = (
            make_learner(stage.model_validate(s)) for s in (settings, {**settings, key: unset(key)})
        )
        assert key == "meta_params_lr" or learner != plain, "the setting reaches the learner"
    else:
        with pytest.raises(ValidationError, match=f"{key!r} has no effect with learner {name!r}"):
            stage.model_validate(settings)


def unset(key: str) -> Any:
    return Meta.model_fields[key].default


def test_mmt_needs_a_batch_of_sources() -> None:
    with pytest.raises(ValidationError, match="set tasks_per_step"):
        Ctml.model_validate({"learner": "mmt"})


def test_a_seed_is_named_once() -> None:
    with pytest.raises(ValidationError, match="seed 3 is named twice"):
        Config.model_validate({**SMALL, "run": {"seeds": [0, 3, 1, 3]}})
    with pytest.raises(ValidationError):
        Config.model_validate({**SMALL, "run": {"seeds": []}})
