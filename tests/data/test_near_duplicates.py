import random
import time

import numpy as np
import pytest

from metaxcr.data import near_duplicates as module
from metaxcr.data.contamination import normalise
from metaxcr.data.near_duplicates import THRESHOLD, near_duplicates

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
