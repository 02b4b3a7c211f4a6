from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from metaxcr.config import io
from metaxcr.config.io import config_hash, differences, find, load_config, shipped, validate
from metaxcr.config.schema import SAMPLER_SETTINGS, Adapters, Config, SamplerSettings
from metaxcr.errors import MetaXCRWarning, UserError

SMALL: dict[str, Any] = {
    "sources": [{"task": "ecare", "cap": 100}],
    "target": {
        "task": "xcopa",
        "languages": ["sw", "th"],
        "english": {"task": "copa"},
        "auxiliary": {"task": "xstorycloze", "languages": ["eu"]},
        "parallel": {"languages": ["sw"]},
    },
}
LOCAL = {
    "run.threads",
    "run.device",
    "run.checkpoint_every",
    "run.tracker",
    "run.allow_leaks",
    "encoder.cache_gb",
}  # how a run is carried out, not what it finds


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write a configuration: small and valid, with top-level keys replaced."""

    def write(name: str = "own.yaml", *, bare: bool = False, **changes: Any) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(({} if bare else SMALL) | changes), encoding="utf-8")
        return str(path)

    return write


def message(name: str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_config(name, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", shipped() or [pytest.param("", marks=pytest.mark.skip("none shipped"))])
def test_shipped_configurations_are_valid(name: str) -> None:
    config = load_config(name)
    assert validate(config.model_dump(mode="json"), name) == config


def test_a_small_file_leaves_the_rest_to_defaults(write: Callable[..., str]) -> None:
    config = load_config(write(ctml={"steps": 7}))
    assert config.ctml.steps == 7
    assert config.sources[0].cap == 100
    assert config.finetune == Config.model_validate(SMALL).finetune


# --- finding


def test_an_unknown_name_suggests_a_shipped_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "starter.yaml").write_text("{}")
    monkeypatch.setattr(io, "SHIPPED", tmp_path)
    with pytest.raises(UserError, match="did you mean 'starter'"):
        find("startr")
    assert find("starter") == tmp_path / "starter.yaml"


def test_a_file_goes_before_a_shipped_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write: Callable[..., str]
) -> None:
    path = write("starter.yaml")
    monkeypatch.chdir(tmp_path)
    assert find("starter.yaml").resolve() == Path(path).resolve()


# --- mistakes


@pytest.mark.parametrize(
    ("changes", "wrong", "right"),
    [
        ({"ctml": {"stpes": 3}}, "ctml.stpes", "ctml.steps"),
        ({"samplr": {}}, "samplr", "sampler"),
        ({"sources": [{"task": "ecare", "caps": 3}]}, "sources.0.caps", "sources.0.cap"),
        ({"target": SMALL["target"] | {"langauges": []}}, "target.langauges", "target.languages"),
        (
            {"target": SMALL["target"] | {"auxiliary": {"task": "x", "language": ["eu"]}}},
            "target.auxiliary.language",
            "target.auxiliary.languages",
        ),
        (
            {"target": SMALL["target"] | {"english": {"task": "copa", "rewards": 0.1}}},
            "target.english.rewards",
            "target.english.reward",
        ),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_one_named(
    write: Callable[..., str], changes: dict[str, Any], wrong: str, right: str
) -> None:
    path = write(**changes)
    text = message(path)
    assert f"unknown setting {wrong!r}" in text
    assert f"did you mean {right!r}?" in text
    assert path in text


def test_a_misspelt_required_key_is_called_unknown_rather_than_missing(write: Callable[..., str]) -> None:
    text = message(write(bare=True, sorces=SMALL["sources"], target=SMALL["target"]))
    assert "unknown setting 'sorces'" in text
    assert "'sources'" in text


def test_a_key_like_no_other_is_to_be_removed(write: Callable[..., str]) -> None:
    assert "remove it" in message(write(ctml={"zzzzzz": 1}))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"ctml": {"steps": "many"}}, "ctml.steps"),
        ({"ctml": {"steps": -1}}, "ctml.steps"),
        ({"ctml": {"learner": "adam"}}, "ctml.learner"),
        ({"clml": {"cross_task": 1.5}}, "clml.cross_task"),
        ({"sources": []}, "sources"),
        ({"sources": [{"cap": 3}]}, "sources.0.task"),
        ({"run": {"regimes": ["one-shot"]}}, "run.regimes.0"),
        ({"encoder": {"cache_gb": 0}}, "encoder.cache_gb"),
        ({"target": 3}, "target"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(
    write: Callable[..., str], changes: dict[str, Any], key: str
) -> None:
    assert f"setting {key!r}" in message(write(**changes))


def test_invalid_yaml_is_located(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("run:\n  seeds: [0, 1]\nctml: {steps: 3\nclml: 4\n", encoding="utf-8")
    assert f"{path}:4" in message(str(path))


@pytest.mark.parametrize("content", [b"- a\n- b\n", b"just words\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list.yaml"
    path.write_bytes(content)
    assert "mapping" in message(str(path))


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("run: {seeds: [0]} # é".encode("latin-1"))
    assert str(path) in message(str(path))


# --- extends


def test_extends_merges_sections_and_replaces_lists(write: Callable[..., str]) -> None:
    write("base.yaml", ctml={"steps": 7, "support": 3}, run={"seeds": [5, 6]})
    config = load_config(write("own.yaml", bare=True, extends="base", ctml={"steps": 9}, run={"seeds": [1]}))
    assert (config.ctml.steps, config.ctml.support) == (9, 3)
    assert config.run.seeds == [1]
    assert config.target.languages == ["sw", "th"]


def test_extends_chains_and_takes_file_names_relative_to_the_file(write: Callable[..., str]) -> None:
    write("base.yaml", ctml={"steps": 7, "support": 3})
    write("middle.yaml", bare=True, extends="base.yaml", ctml={"support": 5})
    own = write("below/own.yaml", bare=True, extends="../middle.yaml", ctml={"query": 2})
    config = load_config(own)
    assert (config.ctml.steps, config.ctml.support, config.ctml.query) == (7, 5, 2)


def test_extends_finds_shipped_ones_even_of_the_same_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write: Callable[..., str]
) -> None:
    write("shipped/starter.yaml", ctml={"steps": 7})
    monkeypatch.setattr(io, "SHIPPED", tmp_path / "shipped")
    for name in ("own.yaml", "starter.yaml"):
        own = write(name, bare=True, extends="starter", ctml={"query": 2})
        assert (load_config(own).ctml.steps, load_config(own).ctml.query) == (7, 2)


@pytest.mark.parametrize(
    "circle",
    [
        {"a.yaml": "a"},
        {"a.yaml": "b", "b.yaml": "c.yaml", "c.yaml": "a"},
        {"a.yaml": "d/b.yaml", "d/b.yaml": "../a.yaml"},
    ],
)
def test_a_circle_of_extends_is_refused(write: Callable[..., str], circle: dict[str, str]) -> None:
    paths = [write(name, extends=parent) for name, parent in circle.items()]
    assert "extends itself" in message(paths[0])


def test_extending_what_does_not_exist_is_refused(write: Callable[..., str]) -> None:
    assert "no configuration 'nowhere'" in message(write(extends="nowhere"))


# --- --set


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("ctml.steps=3", ("ctml", "steps", 3)),
        ("ctml.inner_lr=1e-2", ("ctml", "inner_lr", 0.01)),
        ("evaluate.raw=true", ("evaluate", "raw", True)),
        ("run.seeds=[4, 5]", ("run", "seeds", [4, 5])),
        ("run.threads=null", ("run", "threads", None)),
        ("encoder.name=org/model=1", ("encoder", "name", "org/model=1")),
        ("adapters.layers=[1, 2]", ("adapters", "layers", [1, 2])),
        ("target.english={task: other}", None),
        ("target.english.task=other", None),
    ],
)
def test_overrides_are_yaml(
    write: Callable[..., str], override: str, value: tuple[str, str, Any] | None
) -> None:
    config = load_config(write(), [override])
    if value is None:
        assert config.target.english.task == "other"
    else:
        section, key, expected = value
        assert getattr(getattr(config, section), key) == expected


def test_later_overrides_win_and_leave_the_rest(write: Callable[..., str]) -> None:
    config = load_config(write(ctml={"support": 3}), ["ctml.steps=3", "ctml.steps=4"])
    assert (config.ctml.steps, config.ctml.support) == (4, 3)


@pytest.mark.parametrize("override", ["ctml.steps", "=3", "", "ctml.steps: 3"])
def test_an_override_without_key_or_value_is_refused(write: Callable[..., str], override: str) -> None:
    assert "--set section.key=value" in message(write(), override)


def test_bad_overrides_are_refused(write: Callable[..., str]) -> None:
    assert "'steps' is a value" in message(write(ctml={"steps": 3}), "ctml.steps.more=3")
    assert "cannot read the value" in message(write(), "run.seeds=[1, 2")
    assert "did you mean 'ctml.steps'" in message(write(), "ctml.step=3")
    assert "unknown setting 'nothing'" in message(write(), "nothing.here=3")


# --- identity


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything in nested settings that is no section; the empty dict is a value."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path


def changed(config: Config, path: tuple[Any, ...]) -> tuple[Config, Config]:
    """Settings, and the same with another valid value in one place, which not every learner allows."""
    names = ["float32", "cross", "houlsby", "reptile", "uniform", "all", "gelu", "target", "x"]
    names += ["shots", "english", "reinforce", "flipped", "accuracy-gain", "learned", "mlflow", "sgd"]
    candidates = [2, 3, 0.25, 0.5, True, False, *names]
    candidates += [["x"], [7], ["few-shot"], ["digits"], {"sw": "folder"}, {"at": 9}]
    candidates += [{"candidates": [{"steps": 3}]}]
    for learner in (config.ctml.learner, "maml", "meta-sgd", "imaml"):
        base = config.model_dump(mode="json")
        base["ctml"]["learner"] = base["clml"]["learner"] = learner
        for candidate in candidates:
            settings = deepcopy(base)
            inner = settings
            for part in path[:-1]:
                inner = inner[part]
            inner[path[-1]] = candidate
            try:
                one, other = validate(base, "test"), validate(settings, "test")
            except UserError:
                continue
            if one != other:
                return one, other
    raise AssertionError(f"no other value for {path}")


def test_the_hash_depends_on_every_setting_that_decides_results_and_on_no_other() -> None:
    config = Config.model_validate(SMALL | {"adapters": {"mixture": True}})
    seen = set()
    idle = SamplerSettings.model_fields.keys() - SAMPLER_SETTINGS[config.sampler.kind] - {"kind"}
    for path in leaves(config.model_dump(mode="json")):
        name = ".".join(map(str, path))
        if path[0] == "sampler" and path[1] in idle:  # settings of other samplers cannot be changed
            continue
        one, other = (config_hash(c, {"a": "1"}) for c in changed(config, path))
        assert (one == other) == (name in LOCAL), name
        seen.add(name)
    assert seen >= LOCAL
    assert len(seen) > 50


def test_the_hash_knows_what_auto_came_to() -> None:
    auto = Config.model_validate(SMALL)
    named = Config.model_validate({**SMALL, "encoder": {"dtype": "float32"}})
    assert config_hash(auto, {}, "float32") == config_hash(named, {}, "float32") == config_hash(named, {})
    assert config_hash(auto, {}, "float32") != config_hash(auto, {}, "bfloat16")


def test_where_shots_were_read_from_is_no_part_of_the_hash() -> None:
    """Their ids are, among the checksums; and their number, not the setting k, is k."""
    settings = {**SMALL, "target": {**SMALL["target"], "shots_file": "one/shots"}}
    other = {**SMALL, "target": {**SMALL["target"], "shots_file": "two", "k": 4}}
    one, two = (config_hash(Config.model_validate(s), {"shots": "1"}) for s in (settings, other))
    assert one == two
    assert one != config_hash(Config.model_validate(settings), {"shots": "2"})
    assert one != config_hash(Config.model_validate(SMALL), {"shots": "1"})


def test_the_hash_depends_on_data_and_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config.model_validate(SMALL)
    original = config_hash(config, {"a": "1", "b": "2"})
    assert original == config_hash(Config.model_validate(SMALL), {"b": "2", "a": "1"})
    assert original != config_hash(config, {"a": "1", "b": "3"})
    monkeypatch.setattr(io, "ALGORITHM_VERSION", io.ALGORITHM_VERSION + 1)
    assert original != config_hash(config, {"a": "1", "b": "2"})


def test_differences_name_the_keys_that_differ() -> None:
    one = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert differences(one, {"a": {"b": 2, "c": [1, 2]}, "e": 4}) == ["a.b", "d", "e"]
    assert differences(one, {"d": 3, "a": {"c": [1, 2], "b": 1}}) == []


OLD = Path(__file__).parents[2] / "docs" / "results" / "xcopa-embedded" / "config.yaml"  # written in 2026


@pytest.mark.filterwarnings("ignore::metaxcr.errors.MetaXCRWarning")
def test_a_configuration_with_old_names_is_read_and_the_new_ones_are_named() -> None:
    with pytest.warns(MetaXCRWarning, match=r"'ctml\.inner_rate' is now called 'ctml\.inner_lr'"):
        config = load_config(str(OLD))
    old = yaml.safe_load(OLD.read_text())
    assert config.ctml.inner_lr == old["ctml"]["inner_rate"]
    assert config.clml.few_shot_lr == old["clml"]["few_shot_rate"]
    assert config.finetune.lr == old["finetune"]["rate"]


def test_old_and_new_names_of_files_that_extend_one_another_go_together(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "extends: starter\nctml: {outer_rate: 0.25}\n"
    )  # starter has outer_lr
    with pytest.warns(MetaXCRWarning, match="outer_lr"):
        config = load_config(str(tmp_path / "mine.yaml"), ["finetune.lr=0.5"])
    assert (config.ctml.outer_lr, config.finetune.lr) == (0.25, 0.5)
    with pytest.warns(MetaXCRWarning, match=r"'finetune\.rate' is now called 'finetune\.lr'"):
        assert load_config("starter", ["finetune.rate=0.125"]).finetune.lr == 0.125
    with pytest.warns(MetaXCRWarning, match="sampler"):
        assert load_config("starter", ["sampler={rate: 0.5}"]).sampler.lr == 0.5


def test_a_setting_that_came_later_is_in_no_hash_at_its_default() -> None:
    settings = load_config("starter").first_names()
    assert not {"scorer_lr", "mixture_lr", "alignment_every"} & (settings["ctml"] | settings["clml"]).keys()
    assert not {"scorer_lr", "many_shots", "choose"} & settings["finetune"].keys()
    given = load_config("starter", ["ctml.scorer_lr=1e-4", "finetune.many_shots={at: 32}"]).first_names()
    assert given["ctml"]["scorer_lr"] == 1e-4 and "scorer_lr" not in given["clml"]
    assert given["finetune"]["many_shots"] == {"at": 32, "steps": 40, "lr": 2e-4}


def test_the_rate_of_a_mixture_needs_one() -> None:
    with pytest.raises(UserError, match=r"ctml\.mixture_lr has no effect without adapters\.mixture"):
        load_config("starter", ["ctml.mixture_lr=0.1"])


def test_another_selection_drops_what_it_would_ignore(tmp_path: Path) -> None:
    """Of what is inherited; what is given beside the selection is a mistake."""
    learned = "extends: starter\nsampler: {lr: 0.5, floor: 0.2}\n"
    learned += "ctml: {inner_steps: 3, learner: fomaml, alignment: 0}\n"
    (tmp_path / "base.yaml").write_text(learned + "adapters: {layers: [1], bottleneck: 8}\n")
    (tmp_path / "mine.yaml").write_text(
        "extends: base\nsampler: {kind: uniform}\nctml: {learner: multi-task}\n"
    )
    mine, base = str(tmp_path / "mine.yaml"), str(tmp_path / "base.yaml")
    assert load_config(mine).sampler == SamplerSettings(kind="uniform")
    assert load_config(mine).ctml.inner_steps == 1
    config = load_config(base, ["sampler.kind=exp3", "adapters={kind: none}"])
    assert (config.sampler.lr, config.sampler.floor) == (0.5, 0.2), "which this sampler has, too"
    assert config.adapters == Adapters(kind="none")
    for given in (["sampler.lr=0.1", "sampler.kind=uniform"], ["sampler={kind: uniform, lr: 0.1}"]):
        with pytest.raises(UserError, match="'lr' has no effect with kind 'uniform'"):
            load_config(base, given)


def test_both_names_of_a_setting_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: starter\nctml: {outer_rate: 0.25, outer_lr: 0.5}\n")
    with pytest.raises(UserError, match="'outer_rate' is the old name of 'outer_lr'"):
        load_config(str(tmp_path / "mine.yaml"))


def test_renaming_a_setting_changes_no_hash() -> None:
    settings = load_config("starter").first_names()
    assert {"inner_rate", "outer_rate", "own_rate"} <= settings["ctml"].keys()
    assert (
        "few_shot_rate" in settings["clml"]
        and "rate" in settings["finetune"]
        and "rate" in settings["sampler"]
    )
    assert not {"inner_lr", "outer_lr", "meta_params_lr"} & settings["ctml"].keys()
