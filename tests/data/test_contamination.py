"""Contamination: training examples that are also held out, in this or another language."""

import json
import random
import time
from pathlib import Path

import numpy as np
import pytest

from metaxcr.data import contamination as module
from metaxcr.data.contamination import (
    THRESHOLD,
    find_leaks,
    identity,
    leak_error,
    leak_summary,
    near_duplicates,
    normalise,
    other_versions,
    wording,
)
from metaxcr.data.registry import load


def test_texts_are_compared_by_their_letters():
    assert normalise("  The CAFÉ — “was” closed… ") == normalise("the cafe\u0301 was closed")
    assert normalise("ไป ที่") != normalise("ไป ท")  # vowel signs are marks, and they count
    assert normalise("¿?") == ""


def test_wording_needs_premise_and_choices_together(make_example):
    example = make_example()
    assert wording(example) == wording(
        make_example(choices=("it sang", "it broke"), question="cause", label=1)
    )
    assert wording(example) != wording(make_example(context="Another."))
    assert wording(example) != wording(make_example(choices=("It broke.", "It flew.")))
    assert wording(make_example(question="Why?")) != wording(make_example(question="How?"))


def test_the_same_words_are_a_leak_whatever_the_task(make_example):
    (leak,) = find_leaks([make_example(id="a")], [make_example(id="b", task="other")])
    assert str(leak) == "toy/en/a = other/en/b (same wording)"
    assert find_leaks([make_example()], [make_example(context="Something else.")]) == []


@pytest.mark.parametrize(
    ("trained", "evaluated"),
    [
        (("copa", "en", "test-7"), ("xcopa", "th", "test-7")),
        (("copa", "en", "val-7"), ("xcopa", "sw", "val-7")),
        (("xcopa_en", "en", "test-7"), ("xcopa", "th", "test-7")),
        (("balanced_copa", "en", "401"), ("xcopa", "th", "val-0")),
        (("balanced_copa", "en", "1500"), ("xcopa", "th", "val-99")),
        (("balanced_copa", "en", "1400"), ("copa", "en", "train-399")),
        (("xcopa", "it", "val-3"), ("xcopa", "th", "val-3")),
        (("xstorycloze", "en", "s1"), ("xstorycloze", "sw", "s1")),
        (("starter_target", "en", "40"), ("starter_target", "fr", "40")),
        (("xcopa_gmt", "th", "test-7"), ("xcopa", "sw", "test-7")),  # English by machine
        (("xcopa", "th", "val-7"), ("xcopa_gmt", "sw", "val-7")),
        (("balanced_copa", "en", "1500"), ("xcopa_gmt", "et", "val-99")),
        (("storycloze", "en", "s1"), ("xstorycloze", "eu", "s1")),
    ],
)
def test_translations_and_mirrors_are_leaks(make_example, trained, evaluated):
    def example(place, text):
        task, language, item = place
        return make_example(task=task, language=language, id=item, context=text, choices=(text, text + "!b"))

    (leak,) = find_leaks([example(trained, "one")], [example(evaluated, "two")])
    assert leak.kind == "same item id"


@pytest.mark.parametrize(
    ("trained", "evaluated"),
    [
        (("copa", "en", "train-7"), ("xcopa", "th", "test-7")),
        (("balanced_copa", "en", "400"), ("xcopa", "th", "val-0")),
        (("xstorycloze", "en", "s1"), ("xstorycloze", "sw", "s2")),
        (("comve", "en", "5"), ("comve", "en", "5")),  # numbered per split
        (("toy", "en", "5"), ("toy", "en", "5")),  # not registered: its ids mean nothing
    ],
)
def test_other_items_are_not(make_example, trained, evaluated):
    def example(place, text):
        return make_example(task=place[0], language=place[1], id=place[2], context=text)

    one, two = [example(trained, "The glass fell.")], [example(evaluated, "A dog ran home.")]
    assert find_leaks(one, two) == []


@pytest.mark.parametrize(
    ("language", "text", "edited"),
    [
        (
            "en",
            "The dinner guests were pleased with the food.",
            "Our dinner guests were pleased with the food.",
        ),
        ("sw", "Mwalimu aliwapa wanafunzi kazi ya nyumbani.", "Mwalimu aliwapa wanafunzi kazi ya shuleni."),
        ("th", "ฉันเปิดก๊อกน้ำในห้องครัว", "ฉันเปิดก๊อกน้ำในห้องนอน"),
        ("zh", "我打开了厨房里的水龙头。", "我打开了浴室里的水龙头。"),
    ],
)
def test_edited_items_are_leaks_in_any_language(make_example, language, text, edited):
    choices = {"zh": ("水从水龙头里流了出来", "厕所里充满了水")}.get(
        language, ("It broke at last.", "It sang.")
    )
    held_out = make_example(id="7", context=text, choices=choices, language=language, task="other")
    planted = make_example(id="3", context=edited, choices=choices[::-1], language=language)
    (leak,) = find_leaks(
        [make_example(context="Something else altogether.", choices=("x", "y")), planted], [held_out]
    )
    assert (leak.train, leak.held_out, leak.kind) == (planted, held_out, "near-duplicate")
    assert str(leak) == f"toy/{language}/3 = other/{language}/7 (near-duplicate {leak.similarity:.2f})"


def test_an_id_says_more_than_a_wording_and_a_wording_more_than_a_similarity(make_example):
    same = make_example(task="copa", id="val-3")
    held_out = [
        make_example(task="toy", id="x"),
        make_example(task="xcopa", language="th", id="val-3", context="ก"),
    ]
    (leak,) = find_leaks([same], held_out)
    assert (leak.kind, leak.held_out.task) == ("same item id", "xcopa")
    (leak,) = find_leaks([make_example(id="q")], held_out)
    assert (leak.kind, leak.similarity) == ("same wording", 1.0)


def test_a_message_names_five_pairs_and_the_number_of_the_others(make_example):
    train = [make_example(id=f"t{n}") for n in range(7)]
    text = str(leak_error(find_leaks(train, [make_example(id="e")]), "here"))
    assert str(leak_error(find_leaks(train[:1], [train[1]]), "here")).startswith(
        "contamination: 1 training example is"
    )
    assert text.count(" = toy/en/e (same wording)") == 5
    assert "7 training examples are also held out" in text and "; and 2 more (here): " in text
    assert "--allow-leaks" in text and "\n" not in text


def test_the_summary_counts_all_and_lists_twenty(make_example):
    train = [
        *(make_example(id=f"t{n}") for n in range(30)),
        make_example(task="copa", id="val-3", context="Abc."),
    ]
    found = leak_summary(
        find_leaks(train, [make_example(), make_example(task="xcopa", id="val-3", context="X")])
    )
    assert found["count"] == 31
    assert found["kinds"] == {"same item id": 1, "same wording": 30}
    assert len(found["pairs"]) == 20
    assert found["pairs"][0] == "toy/en/t0 = toy/en/1 (same wording)"


def test_the_user_s_own_tasks_have_origins_too(make_example, tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(OWN, encoding="utf-8")
    mine, theirs = (
        make_example(task="mine", id="test-7", context="A"),
        make_example(task="xcopa", id="test-7"),
    )
    assert identity(mine) is None
    monkeypatch.setenv("METAXCR_TASKS", str(tmp_path))
    assert identity(mine) == identity(theirs) == ("copa", "test-7")


OWN = """
{id: mine, version: 1, title: Mine, group: source, languages: [en], format: jsonl, origin: copa,
 fields: {id: "{id}", context: p, choices: [a, b], label: label},
 splits: {train: {files: {data: mine.jsonl}}},
 relation: effect, licence: none, citation: nobody, url: "https://example.org"}
"""


@pytest.mark.real
def test_copa_train_shares_a_premise_and_a_choice_with_the_test_set_and_is_clean(data_root):
    train = load("copa", "train", root=data_root).examples
    test = load("xcopa_en", "test", root=data_root).examples
    assert {e.context for e in train} & {e.context for e in test}
    assert find_leaks(train, test) == []


@pytest.mark.real
def test_near_duplicates_among_the_official_sets(data_root):
    """CODAH has taken sentences from the Winograd schemas, and machine translations are the same items."""

    def official(task, split, language="en"):
        return load(task, split, language=language, root=data_root).examples

    leaks = find_leaks(official("codah", "train"), official("xwinograd", "test"))
    assert [leak.kind for leak in leaks] == ["near-duplicate"] * 6
    translated = find_leaks(official("xcopa_gmt", "test", "sw"), official("xcopa", "test", "th"))
    assert len(translated) == 500 and {leak.kind for leak in translated} == {"same item id"}
    for language in ("sw", "th", "zh"):
        assert find_leaks(official("xcopa", "val", language), official("xcopa", "test", language)) == []


@pytest.mark.real
def test_codah_in_the_layout_of_xcodah_is_known_by_its_letters(data_root, make_example):
    codah = load("codah", "train", root=data_root).examples
    cut = [
        make_example(task="xcodah", id=e.id, context="", choices=tuple(f"{e.context} {c}" for c in e.choices))
        for e in codah
    ]
    found = {leak.train.id for leak in find_leaks(codah, cut)}
    assert len(found) >= 0.99 * len(codah)


@pytest.mark.real
def test_what_is_known_about_the_official_sets(data_root):
    def official(task, split, language="en"):
        return load(task, split, language=language, root=data_root).examples

    mirrors = official("balanced_copa", "train")
    assert find_leaks([*official("copa", "train"), *mirrors], official("xcopa_en", "test")) == []
    assert len(find_leaks(mirrors, official("xcopa", "val", "th"))) == 200
    assert {identity(e) for e in official("copa", "val")} == {
        identity(e) for e in official("xcopa", "val", "et")
    }
    ecare, dev = official("ecare", "train"), official("ecare", "dev")
    same = {wording(leak.held_out) for leak in find_leaks(ecare, dev) if leak.kind == "same wording"}
    assert len(same) == 48


@pytest.mark.real
def test_identities_of_balanced_copa_fit_the_wording(data_root):
    by_wording = {
        wording(example): identity(example)
        for split in ("train", "val")
        for example in load("copa", split, root=data_root).examples
    }
    originals = [e for e in load("balanced_copa", "train", root=data_root).examples if int(e.id) <= 500]
    assert len(originals) == 500
    assert all(by_wording[wording(example)] == identity(example) for example in originals)


ROW = {"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 0}


def write(path: Path, numbers: range) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(json.dumps({**ROW, "premise": f"{path.stem} {n}", "idx": n}) + "\n" for n in numbers)
    )


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few COPA items in three languages, and no other data root."""
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no-cache"))
    write(tmp_path / "xcopa/data/sw/test.sw.jsonl", range(1, 3))
    write(tmp_path / "xcopa/data/it/test.it.jsonl", range(4))
    write(tmp_path / "copa/test.jsonl", range(4))
    write(tmp_path / "copa/val.jsonl", range(4))
    return tmp_path


def test_originals_and_translations_of_the_items_and_no_others(root: Path) -> None:
    items = load("xcopa", "test", language="sw", root=root).examples
    english = other_versions(items, {"en"}, root)
    assert {(e.task, e.id) for e in english} == {("copa", "test-1"), ("copa", "test-2")}
    both = other_versions(items, {"en", "it", "sw", "th"}, root)
    assert sorted((e.task, e.language) for e in both) == [("copa", "en")] * 2 + [("xcopa", "it")] * 2
    assert {identity(e) for e in both} == {identity(e) for e in items}


def test_items_of_no_common_origin_have_none(root: Path) -> None:
    facts = load("starter_facts", "train").examples
    assert other_versions(facts, {"en", "sw"}, root) == []
    assert other_versions([], {"en"}, root) == []


@pytest.mark.real
def test_the_official_originals(data_root: Path) -> None:
    items = load("xcopa", "val", language="qu", root=data_root).examples
    found = other_versions(items, {"en"}, data_root)
    counts = {task: sum(e.task == task for e in found) for task in ("copa", "xcopa_en", "balanced_copa")}
    assert counts == {"copa": 100, "xcopa_en": 100, "balanced_copa": 200}
    stories = load("xstorycloze", "test", language="eu", root=data_root).examples
    assert len(other_versions(stories, {"en"}, data_root)) == 1511


TEXTS = {
    "en": (
        ("the dinner guests were pleased with the food", "they ate all of it", "they left very early"),
        ("the dinner guests were pleased with the soup", "they ate all of it", "they left very early"),
    ),
    "sw": (
        ("mwalimu aliwapa wanafunzi kazi ya nyumbani", "wanafunzi walilalamika", "wanafunzi walifurahi sana"),
        ("mwalimu aliwapa wanafunzi kazi ya shuleni", "wanafunzi walilalamika", "wanafunzi walifurahi sana"),
    ),
    "th": (
        ("ฉันเปิดก๊อกน้ำในห้องครัว", "น้ำไหลออกมาจากหัวก๊อก", "โถส้วมในห้องน้ำเต็มไปด้วยน้ำ"),
        ("ฉันเปิดก๊อกน้ำในห้องนอน", "น้ำไหลออกมาจากหัวก๊อก", "โถส้วมในห้องน้ำเต็มไปด้วยน้ำ"),
    ),
    "zh": (
        ("我打开了厨房里的水龙头", "水从水龙头里流了出来", "厕所里充满了水"),
        ("我打开了浴室里的水龙头", "水从水龙头里流了出来", "厕所里充满了水"),
    ),
    "ta": (
        ("ஆசிரியர் மாணவர்களுக்கு வீட்டுப்பாடத்தைத் தந்தார்", "மாணவர்கள் புலம்பினர்", "மாணவர்கள் சிரித்தனர்"),
        ("ஆசிரியர் குழந்தைகளுக்கு வீட்டுப்பாடத்தைத் தந்தார்", "மாணவர்கள் புலம்பினர்", "மாணவர்கள் சிரித்தனர்"),
    ),
}


@pytest.mark.parametrize("language", TEXTS)
def test_one_other_word_is_found(language):
    one, other = TEXTS[language]
    others = [texts[0] for code, texts in TEXTS.items() if code != language]
    (found,) = near_duplicates([*others, other], [("nothing like it", "at all", "here"), one])
    assert (found.position, found.other) == (len(others), 1)
    assert THRESHOLD <= found.similarity < 1


def test_the_similarity_is_the_exact_one():
    def grams(texts):
        return {f" {text} "[n : n + 3] for text in texts for n in range(len(text))}

    one, other = TEXTS["en"]
    expected = len(grams(one) & grams(other)) / len(grams(one) | grams(other))
    assert near_duplicates([other], [one])[0].similarity == pytest.approx(expected)
    assert near_duplicates([one], [one])[0].similarity == 1


def test_neither_case_nor_punctuation_nor_the_order_of_the_choices_matters():
    one = TEXTS["en"][0]
    changed = (
        "THE DINNER GUESTS, were pleased -- with the food!",
        '"They left very early."',
        "They ate all of it?",
    )
    found = near_duplicates([tuple(map(normalise, changed))], [one])
    assert found[0].similarity == 1


def test_context_and_choices_may_be_cut_elsewhere():
    context, *choices = TEXTS["en"][0]  # as X-CODAH repeats CODAH's scene in every choice
    whole = ("", *(f"{context} {choice}" for choice in choices))
    assert len(near_duplicates([whole], [TEXTS["en"][0]])) == 1


def test_of_several_the_most_similar_and_then_the_first_is_named():
    one, other = TEXTS["en"]
    assert [n.other for n in near_duplicates([one], [other, one, one])] == [1]


def test_one_shared_text_is_not_enough():
    """As COPA train and XCOPA test share one premise, and another time a choice."""
    context, first, second = TEXTS["en"][0]
    assert not near_duplicates(
        [(context, "it was cold", "the music was too loud")], [(context, first, second)]
    )
    assert not near_duplicates([("we went home", first, "the music was loud")], [(context, first, second)])


def test_choices_that_all_items_share_are_no_evidence():
    choices = ("it contradicts the text", "it follows from the text", "it has nothing to do with the text")
    assert not near_duplicates([("cats bark", *choices)], [("it rained in may", *choices)])
    assert near_duplicates([("cats bark at night", *choices)], [("cats bark all night", *choices)])


@pytest.mark.parametrize("short", [("",), ("", "", ""), ("", "是", "否"), ("a", "b", "c"), ("2 3", "5", "6")])
def test_very_short_texts_are_left_to_their_exact_wording(short):
    assert near_duplicates([short], [short, ("2 3", "5", "7")]) == []


def test_nothing_has_no_duplicates():
    one = TEXTS["en"][0]
    assert near_duplicates([], [one]) == near_duplicates([one], []) == near_duplicates([], []) == []


def test_characters_beyond_the_basic_plane_and_lone_surrogates_are_texts_too():
    one = ("𠮷野家で牛丼を食べた \ud800", "美味しかった", "お腹が空いた")
    assert near_duplicates([one], [one])[0].similarity == 1


def test_chunks_and_threads_do_not_change_what_is_found(monkeypatch):
    words = random.Random(0)
    vocabulary = ["abcdefgh", "ijkl", "mnop", "qrst", "uvw", "xyz"]
    made = [tuple(" ".join(words.choices(vocabulary, k=12)) for _ in range(3)) for _ in range(40)]
    held_out = [(f"{context} too", *choices) for context, *choices in made[::3]]
    whole = near_duplicates(made, held_out)
    assert {n.position for n in whole} >= set(range(0, 40, 3))
    monkeypatch.setattr(module, "CHUNK", 3)
    assert near_duplicates(made, held_out) == whole


def test_few_pairs_at_the_threshold_are_missed():
    """What the bands are chosen for: 1 - (1 - s^ROWS)^BANDS."""
    draw = np.random.default_rng(0)
    alphabet = list("abcdefghijklmnopqrstuvwxyz")
    made, held_out = [], []
    for _ in range(150):
        text = "".join(draw.choice(alphabet, 120))
        tail = "".join(draw.choice(alphabet, 22))
        made.append((text, "x", "y"))
        held_out.append((text[: 120 - 22] + tail, "x", "z"))
    assert len(near_duplicates(made, held_out)) >= 140


@pytest.mark.slow
def test_many_examples_take_less_than_a_minute():
    """A tenth of 300,000 against 6,000 has a tenth of a minute on two cores, twice over to be safe."""
    draw = random.Random(0)
    vocabulary = [
        "".join(draw.choices("aabcdeefghiiklmnooprstuvwy", k=draw.randint(2, 9))) for _ in range(3000)
    ]

    def item(words):
        return tuple(" ".join(draw.choices(vocabulary, k=count)) for count in words)

    train = [item((18, 6, 6)) for _ in range(30_000)]
    held_out = [item((8, 5, 5)) for _ in range(6_000)]
    start = time.process_time()  # of all threads, whatever else the machine is doing
    assert near_duplicates(train, held_out) == []
    assert time.process_time() - start < 2 * 12
