"""``metaxcr.MetaXCR``: loading, ranking, saving."""

import json
import math
import shutil

import pytest
import torch
import yaml

import metaxcr
from metaxcr.adapters.adapter_files import save_language
from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.config.io import load_config
from metaxcr.config.schema import Config
from metaxcr.data.phrasing import phrase
from metaxcr.data.registry import load
from metaxcr.evaluation.predictions import predict
from metaxcr.model.batch import encode_task
from metaxcr.model.build import build_model, save_phi

CONTEXT, CHOICES = "the glass fell down", ["it broke into pieces", "it was full", "it sang"]
QUIET = "ignore::metaxcr.MetaXCRWarning"


@pytest.fixture(autouse=True)
def _toy(monkeypatch, toy_encoder):
    monkeypatch.setattr("metaxcr.api.load_encoder", lambda *_, **__: toy_encoder)


@pytest.fixture
def config() -> Config:
    overrides = [
        "encoder.max_tokens=40",
        "encoder.dtype=float32",
        "adapters.bottleneck=4",
        "adapters.layers=[1, 2]",
    ]
    return load_config(
        "starter", [*overrides, "target.languages=[es, sw]", "target.parallel.languages=[es, sw]"]
    )


@pytest.fixture
def folder(tmp_path, config, toy_encoder):
    """A run folder with random adapters: one for Spanish beside the general one."""
    generator = torch.Generator().manual_seed(0)
    for name in ("meta", "target.starter_target.es"):
        phi = build_model(config, toy_encoder, 0).params()
        phi = {key: value + 0.2 * torch.randn(value.shape, generator=generator) for key, value in phi.items()}
        save_phi(tmp_path / "run" / "adapters" / name, name, phi, config, toy_encoder)
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return tmp_path / "run"


@pytest.fixture
def model(folder):
    return metaxcr.MetaXCR.from_pretrained(folder)


def test_rank_gives_probabilities_in_the_order_given(model):
    given = model.rank(CONTEXT, CHOICES, question="effect", language="es")
    assert all(isinstance(p, float) for p in given)
    assert math.isclose(sum(given), 1, abs_tol=1e-12)
    turned = model.rank(CONTEXT, CHOICES[::-1], question="effect", language="es")
    assert turned == pytest.approx(given[::-1], abs=2e-6)
    assert len(set(given)) == 3


def test_the_kind_of_question_matters(model):
    kinds = ["effect", "cause", None, "What happened to the shop?"]
    answers = [tuple(model.rank(CONTEXT, CHOICES, question=kind, language="es")) for kind in kinds]
    assert len(set(answers)) == 4


def test_without_a_direction_the_scorer_is_symmetric(model):
    """None is an answer: W and its transpose weigh alike, so it lies between effect and cause in log-odds."""
    effect, cause, none = (
        [math.log(p) for p in model.rank(CONTEXT, CHOICES, question=kind, language="es")]
        for kind in ("effect", "cause", None)
    )
    for i in (1, 2):
        middle = (effect[i] - effect[0] + cause[i] - cause[0]) / 2
        assert none[i] - none[0] == pytest.approx(middle, abs=1e-3)


@pytest.mark.filterwarnings(QUIET)
def test_a_language_s_own_adapter_is_used(model, toy_encoder):
    assert model.adapter("es") == "target.starter_target.es"
    assert model.adapter("sw") == model.adapter("en") == "meta"
    assert model.rank(CONTEXT, CHOICES, language="es") != model.rank(CONTEXT, CHOICES, language="sw")
    assert model.rank(CONTEXT, CHOICES, language="en") == model.rank(CONTEXT, CHOICES, language="sw")


def test_meta_is_said_once_a_language(model, recwarn):
    for _ in range(2):
        model.rank(CONTEXT, CHOICES, language="es")
        model.rank(CONTEXT, CHOICES, language="sw")
        model.rank(CONTEXT, CHOICES, language="en")
    told = [str(w.message) for w in recwarn if w.category is metaxcr.MetaXCRWarning]
    assert told == [
        "no adapter for 'sw': adapters/meta is used",
        "no adapter for 'en': adapters/meta is used",
    ]


def test_the_caller_is_named_by_the_warning(model):
    with pytest.warns(metaxcr.MetaXCRWarning) as caught:
        model.rank(CONTEXT, CHOICES, language="sw")
    assert caught[0].filename == __file__


def test_an_unknown_language_names_the_known_ones(model):
    with pytest.raises(metaxcr.UserError, match="unknown language 'fr': the model knows en, es, sw"):
        model.rank(CONTEXT, CHOICES, language="fr")


def test_languages_of_all_roles_are_known(folder):
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["target"]["auxiliary"] = {"task": "xstorycloze", "languages": ["hi"]}
    settings["target"]["parallel"] = {"languages": ["ta"]}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    shutil.copytree(folder / "adapters" / "meta", folder / "adapters" / "target.starter_target.qu")
    assert metaxcr.MetaXCR.from_pretrained(folder).languages == ["en", "es", "hi", "qu", "sw", "ta"]


@pytest.mark.filterwarnings(QUIET)
def test_rank_many_equals_rank(model):
    asked = [
        {"context": CONTEXT, "choices": CHOICES[: 2 + n % 2], "question": "cause", "language": language}
        for n, language in enumerate(["es", "sw", "es", "en"])
    ]
    for row, answer in zip(asked, model.rank_many(asked), strict=True):
        assert answer == pytest.approx(model.rank(**row), abs=2e-6)
    assert model.rank_many([]) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"choices": ["one"]}, "two or more choices"),
        ({"choices": "one"}, "two or more choices"),
        ({"choices": ["one", " "]}, "not empty"),
        ({"context": ""}, "not empty"),
        ({"label": 1}, "unknown label"),
        ({"language": None}, "unknown language"),
    ],
)
def test_a_bad_example_is_named_by_position(model, change, told):
    good = {"context": CONTEXT, "choices": CHOICES, "language": "es"}
    with pytest.raises(metaxcr.UserError, match=told):
        model.rank_many([good, {**good, **change}])


def test_a_missing_argument_is_named(model):
    with pytest.raises(metaxcr.UserError, match=r"missing language \(example 0\)"):
        model.rank_many([{"context": CONTEXT, "choices": CHOICES}])


def test_a_long_context_is_cut_and_said(model):
    with pytest.warns(metaxcr.MetaXCRWarning, match="1 of 4 texts were cut at 40 tokens"):
        model.rank("word " * 60, CHOICES, language="es")


def test_score_equals_the_run_s_own_evaluation(model, config, toy_encoder, toy_store):
    split = load("starter_target", "shots", language="es")
    data = encode_task(split.examples, lambda e: phrase(e, split.spec), toy_store, kind="dual")
    trained = predict(model._model, model._phi["es"], [data], toy_store)[0][0]
    for ours, theirs in zip(model.score(split), trained, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    fresh = build_model(config, toy_encoder, 0)
    untrained = predict(fresh, fresh.params(), [data], toy_store)[0][0]
    for ours, theirs in zip(model.score(split, untrained=True), untrained, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert untrained != trained


def test_nothing_is_written_or_evicted(model, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work" / "mine.safetensors").write_text("x")
    model.rank(CONTEXT, CHOICES, language="es")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["mine.safetensors"]


def test_a_saved_model_answers_the_same_elsewhere(model, folder, tmp_path):
    empty = {"schema": 1, "config_hash": "c", "data_hash": "d", "shares": {}}
    empty |= {"rows": [], "averages": [], "differences": []}
    (folder / "results.json").write_text(json.dumps(empty))
    saved = model.save_pretrained(tmp_path / "saved")
    before = model.rank(CONTEXT, CHOICES, question="cause", language="es")
    moved = shutil.move(saved, tmp_path / "elsewhere")
    shutil.rmtree(folder)
    again = metaxcr.MetaXCR.from_pretrained(moved)
    assert again.rank(CONTEXT, CHOICES, question="cause", language="es") == before
    assert (tmp_path / "elsewhere" / "results.json").is_file()
    card = (tmp_path / "elsewhere" / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["language"] == ["en", "es", "sw"]


def save_random_language(folder, encoder, seed):
    """Write a language adapter with random weights; return its place."""
    generator = torch.Generator().manual_seed(seed)
    adapter = LanguageAdapter.create(encoder, generator)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    save_language(folder, "any", adapter, encoder)
    return str(folder)


def test_the_language_adapter_is_swapped_by_one_argument(folder, tmp_path, toy_encoder):
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    for seed, language in enumerate(("es", "sw")):
        place = save_random_language(tmp_path / language, toy_encoder, seed)
        settings["adapters"]["language"][language] = place
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    model, question = metaxcr.MetaXCR.from_pretrained(folder), {"language": "es"}
    right, none, wrong = (
        model.rank(CONTEXT, CHOICES, **question, language_adapter=name) for name in ("es", None, "sw")
    )
    assert model.rank(CONTEXT, CHOICES, **question) == right
    assert len({tuple(answer) for answer in (right, none, wrong)}) == 3
    assert model.stack("es") == ["invertible.es", "lang.es", "task"]
    assert model.stack("es", "sw") == ["invertible.sw", "lang.sw", "task"]
    assert model.stack("es", None) == model.stack("it") == ["task"]
    with pytest.raises(metaxcr.UserError, match="no language adapter 'fr': the model has those of es, sw"):
        model.rank(CONTEXT, CHOICES, **question, language_adapter="fr")


def test_language_adapters_travel_with_a_model(folder, tmp_path, toy_encoder):
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["adapters"]["language"] = {"sw": save_random_language(tmp_path / "lang", toy_encoder, 1)}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    model = metaxcr.MetaXCR.from_pretrained(folder)
    with pytest.warns(metaxcr.MetaXCRWarning):
        before = model.rank(CONTEXT, CHOICES, language="sw")
        assert model.rank(CONTEXT, CHOICES, language="sw", language_adapter=None) != before
    model.save_pretrained(tmp_path / "saved")
    shutil.rmtree(tmp_path / "lang")
    again = metaxcr.MetaXCR.from_pretrained(tmp_path / "saved")
    with pytest.warns(metaxcr.MetaXCRWarning):
        assert again.rank(CONTEXT, CHOICES, language="sw") == before


def test_a_saved_model_tells_its_command_and_nothing_of_the_machine(model, folder, tmp_path):
    told = {"command": "metaxcr run starter", "cpu": "a secret", "torch": "2.13", "platform": "mine"}
    (folder / "environment.json").write_text(json.dumps(told))
    saved = metaxcr.MetaXCR.from_pretrained(model.save_pretrained(tmp_path / "one"))
    saved.save_pretrained(tmp_path / "two")
    for copy in ("one", "two"):
        kept = json.loads((tmp_path / copy / "environment.json").read_text())
        assert kept == {"command": "metaxcr run starter", "torch": "2.13"}
        assert "`metaxcr run starter`" in (tmp_path / copy / "README.md").read_text()


def test_saving_into_the_run_folder_leaves_the_run_as_it_is(model, folder):
    before = (folder / "config.yaml").read_bytes()
    model.save_pretrained(folder)
    assert (folder / "config.yaml").read_bytes() == before
    assert (folder / "README.md").is_file()


def test_push_to_hub_uploads_what_is_saved(model, monkeypatch):
    sent = {}

    class Api:
        def __init__(self, token):
            sent["token"] = token

        def create_repo(self, repo_id, **settings):
            sent["repo"] = (repo_id, settings)

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            sent["files"] = sorted(
                str(p.relative_to(folder_path)) for p in folder_path.rglob("*") if p.is_file()
            )
            return type("Commit", (), {"commit_url": f"https://hub/{repo_id}/1"})()

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    assert model.push_to_hub("me/it", private=True, token="t") == "https://hub/me/it/1"
    assert sent["token"] == "t"
    assert sent["repo"] == ("me/it", {"private": True, "exist_ok": True})
    assert {"README.md", "config.yaml", "adapters/meta/adapter.safetensors"} <= set(sent["files"])


def test_a_hub_that_refuses_is_a_line(model, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network\nlong story")

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", refuse)
    with pytest.raises(metaxcr.UserError, match="cannot upload to 'me/it': no network: "):
        model.push_to_hub("me/it")


def test_a_hub_id_is_fetched(folder, monkeypatch):
    asked = {}

    def fetch(name, *, revision, allow_patterns):
        asked.update(name=name, revision=revision, patterns=allow_patterns)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    model = metaxcr.MetaXCR.from_pretrained("me/it", revision="v1")
    assert (asked["name"], asked["revision"]) == ("me/it", "v1")
    assert model.adapter("es") == "target.starter_target.es"


@pytest.mark.parametrize("name", ["nowhere", "./a/b", "/nowhere", "runs/a/b"])
def test_what_is_no_folder_and_no_hub_id_is_not_asked_for(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(metaxcr.UserError, match="there is no folder"):
        metaxcr.MetaXCR.from_pretrained(name)


def test_an_untrained_folder_is_told(folder):
    shutil.rmtree(folder / "adapters")
    with pytest.raises(metaxcr.UserError, match="nothing is trained yet"):
        metaxcr.MetaXCR.from_pretrained(folder)
    (folder / "config.yaml").unlink()
    with pytest.raises(metaxcr.UserError, match="not a run folder"):
        metaxcr.MetaXCR.from_pretrained(folder)


def test_there_are_no_other_attributes():
    assert set(metaxcr.__all__) == set(dir(metaxcr))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        metaxcr.nothing  # noqa: B018
