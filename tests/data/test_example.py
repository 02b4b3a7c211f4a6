"""Examples, questions as users ask them in Python, and shots.

What is wrong with inline questions is tested through ``MetaXCR.rank_many``.
"""

import dataclasses
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaxcr.data.example import (
    Example,
    check_shots,
    draw_shots,
    inline_example,
    phrase_inline,
    read_shots,
    shots_digest,
    split_target,
)
from metaxcr.data.registry import load, task_spec
from metaxcr.errors import UserError


def test_examples_are_values(make_example):
    assert make_example() == make_example() and len({make_example(), make_example()}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_example().label = 1


GIVEN = {"context": " a ", "choices": [" b", "c"], "language": "es"}


def test_texts_are_trimmed_and_named_by_position():
    example = inline_example(3, GIVEN)
    assert (example.id, example.context, example.choices, example.question) == ("3", "a", ("b", "c"), "")
    assert (example.language, example.label) == ("es", None)


def test_cause_and_effect_are_directions_and_the_rest_is_words():
    seen = {
        q: phrase_inline(inline_example(0, {**GIVEN, "question": q}))
        for q in ("cause", "effect", None, "Why?")
    }
    assert {q: (p.context, p.relation) for q, p in seen.items()} == {
        "cause": ("a", "cause"),
        "effect": ("a", "effect"),
        None: ("a", "answer"),
        "Why?": ("a Why?", "answer"),
    }
    assert all(p.choices == ("b", "c") for p in seen.values())


KINDS = ("cause", "effect", "Why?")


def pool(kinds, language="en", label=0):
    return [
        Example(f"i{number}", f"{language} text {number}", kind, ("a", "b"), label, language, "toy")
        for number, kind in enumerate(kinds)
    ]


pools = st.lists(st.sampled_from(KINDS), min_size=1, max_size=60).map(pool)


@settings(max_examples=60, deadline=None)
@given(pools, st.integers(0, 5), st.randoms(use_true_random=False))
def test_draws_are_nested_and_blind_to_order_language_and_labels(examples, seed, random):
    whole = draw_shots(examples, len(examples), seed)
    assert sorted(whole) == sorted(example.id for example in examples)
    shuffled = pool([example.question for example in examples], language="th", label=1)
    random.shuffle(shuffled)
    for k in range(len(examples) + 1):
        assert draw_shots(shuffled, k, seed) == whole[:k]


@settings(max_examples=60, deadline=None)
@given(pools, st.integers(0, 5))
def test_every_prefix_is_in_proportion(examples, seed):
    share = {kind: count / len(examples) for kind, count in Counter(e.question for e in examples).items()}
    kind_of = {example.id: example.question for example in examples}
    taken = Counter()
    for k, identity in enumerate(draw_shots(examples, len(examples), seed), start=1):
        taken[kind_of[identity]] += 1
        assert all(abs(taken[kind] - share[kind] * k) <= 1 for kind in share)


def test_halves_are_alike():
    examples = pool(["cause"] * 50 + ["effect"] * 50)
    kind_of = {example.id: example.question for example in examples}
    ids = draw_shots(examples, 16, 0)
    assert (
        Counter(map(kind_of.get, ids[:8])) == Counter(map(kind_of.get, ids[8:])) == {"cause": 4, "effect": 4}
    )


def test_another_seed_draws_others():
    examples = pool(["cause", "effect"] * 50)
    assert len({tuple(draw_shots(examples, 16, seed)) for seed in range(10)}) == 10


def test_every_item_can_be_drawn():
    examples = pool(["cause", "effect"] * 10)
    drawn = Counter(identity for seed in range(200) for identity in draw_shots(examples, 4, seed))
    # 200 draws of 4 from 20: 40 each on average, and six standard deviations are 36
    assert len(drawn) == 20 and min(drawn.values()) > 10


@pytest.mark.parametrize("k", [-1, 4])
def test_impossible_numbers_are_refused(k):
    with pytest.raises(UserError, match="from 3 examples"):
        draw_shots(pool(["cause"] * 3), k, 0)


def test_ids_must_be_unique():
    with pytest.raises(UserError, match="twice"):
        draw_shots([*pool(["cause"]), *pool(["effect"])], 1, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 200), st.integers(0, 3))
def test_target_parts_never_overlap(size, seed):
    examples = pool([KINDS[number % 2] for number in range(size)])
    parts = split_target(examples, {"source": 0.6, "query": 0.2, "reward": 0.2}, seed)
    ids = [example.id for part in parts.values() for example in part]
    assert sorted(ids) == sorted(example.id for example in examples)
    assert list(parts) == ["source", "query", "reward"]
    for name, share in (("source", 0.6), ("query", 0.2), ("reward", 0.2)):
        assert abs(len(parts[name]) - share * size) <= 1
        kinds = Counter(example.question for example in parts[name])
        assert abs(kinds["cause"] - kinds["effect"]) <= 2
    assert parts == split_target(examples[::-1], {"source": 0.6, "query": 0.2, "reward": 0.2}, seed)


@pytest.mark.parametrize("parts", [{"a": 0.7, "b": 0.4}, {"a": 0.5, "b": 0.0}, {"a": 0.9, "b": 0.01}])
def test_impossible_parts_are_refused(parts):
    with pytest.raises(UserError, match="target split"):
        split_target(pool(["cause"] * 10), parts, 0)


def test_a_share_may_stay_unused():
    parts = split_target(pool(["cause"] * 10), {"a": 0.3, "b": 0.3}, 0)
    assert [len(part) for part in parts.values()] == [3, 3]


@pytest.mark.real
def test_shots_are_the_same_items_in_all_languages(data_root):
    drawn = {
        tuple(draw_shots(load("xcopa", "val", language=language, root=data_root).examples, 16, 0))
        for language in task_spec("xcopa").languages
    }
    assert len(drawn) == 1


def test_a_rare_type_comes_as_early_as_its_share():
    # by Webster's method; the usual 1, 2, 3, ... as divisors would leave it to the end
    examples = pool(["cause"] * 8 + ["effect"])
    kind_of = {example.id: example.question for example in examples}
    assert [kind_of[identity] for identity in draw_shots(examples, 9, 0)].index("effect") == 4


def test_shots_and_parts_are_drawn_apart():
    examples = pool(["cause"] * 20)
    part = split_target(examples, {"all": 1.0}, 0)["all"]
    assert draw_shots(examples, 20, 0) != [example.id for example in part]


IDS = ["val-1", "val-2", "val-3"]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(IDS),
        json.dumps({"k": 3, "seed": 7, "ids": IDS}),
        json.dumps({"0": IDS, "1": IDS, "5": ["unused"]}),
        "val-1\nval-2\r\n\n  val-3  \n",
        "\ufeffval-1\nval-2\nval-3",
    ],
)
def test_shots_are_read_from_many_kinds_of_files(tmp_path, text):
    file = tmp_path / "shots.txt"
    file.write_text(text, encoding="utf-8", newline="")
    assert read_shots(file, "xcopa", [0, 1]) == {0: IDS, 1: IDS}


def test_seeds_keep_their_own_shots(tmp_path):
    (tmp_path / "shots").mkdir()
    for seed in (0, 1):
        shots = {"k": 2, "seed": seed, "ids": [f"a{seed}", f"b{seed}"]}
        (tmp_path / "shots" / f"xcopa.seed{seed}.json").write_text(json.dumps(shots))
    expected = {1: ["a1", "b1"], 0: ["a0", "b0"]}
    assert (
        read_shots(tmp_path, "xcopa", [1, 0]) == read_shots(tmp_path / "shots", "xcopa", [1, 0]) == expected
    )
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({str(seed): ids for seed, ids in expected.items()}))
    assert read_shots(file, "xcopa", [1, 0]) == expected
    for place, missing in ((tmp_path, "no file xcopa.seed2.json"), (file, "no key '2'")):
        with pytest.raises(UserError, match=rf"seed 2 has no shots \({place}.*{missing}"):
            read_shots(place, "xcopa", [0, 2])


def test_numbers_are_ids_too(tmp_path):
    file = tmp_path / "shots.json"
    file.write_text("[3, 4]")
    assert read_shots(file, "xcopa", [0]) == {0: ["3", "4"]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "0 shots"),
        ("one", "1 shots"),
        ("[]", "0 shots"),
        ("a\nb\na", "'a' is named twice"),
        ("[1, 1.5]", "not a list of item ids"),
        ("[true, false]", "not a list of item ids"),
        ('{"0": "ab"}', "not a list of item ids"),
        ('{"ids": null}', "not a list of item ids"),
        ('["a",', "not valid JSON"),
        ('{"0": ["a", "b"], "1": ["a", "b", "c"]}', "2 to 3 shots"),
        ("\ud800", "cannot read the shots"),
    ],
)
def test_files_that_cannot_be_shots_are_one_line(tmp_path, text, told):
    file = tmp_path / "shots.txt"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError, match=told) as error:
        read_shots(file, "xcopa", [0, 1] if "1" in text else [0])
    assert str(file) in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_of_shots_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the shots: .*nowhere"):
        read_shots(tmp_path / "nowhere", "xcopa", [0])


def test_unknown_shots_are_named():
    check_shots({0: ["a", "b"]}, ["a", "b", "c"], "file")
    with pytest.raises(UserError, match=r"'x', 'y', 'z' and 1 more \(file\): its ids look like 'a'"):
        check_shots({0: ["a", "x", "y"], 1: ["x", "z", "w"]}, ["a"], "file")


def test_the_digest_is_of_the_ids_and_their_order():
    one = shots_digest({0: ["a", "b"], 1: ["c", "d"]})
    assert one == shots_digest({1: ["c", "d"], 0: ["a", "b"]})
    assert one != shots_digest({0: ["b", "a"], 1: ["c", "d"]})
