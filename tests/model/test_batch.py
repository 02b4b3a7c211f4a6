"""Questions as numbers: positions, ragged choices, renumbering, the texts that are encoded."""

from collections.abc import Callable

import pytest
import torch

from metaxcr.data.example import Example, Phrased, Relation
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import Text
from metaxcr.errors import UserError
from metaxcr.model.batch import DIRECTIONS, Questions, TaskData, encode_task, make_batch, texts_of


def questions(
    context: list[int], choices: list[list[int]], labels: list[int], sign: float = 1.0
) -> Questions:
    direction = torch.tensor([DIRECTIONS["effect"]] * len(labels))
    return Questions(torch.tensor(context), torch.tensor(choices), direction, torch.tensor(labels), sign)


@pytest.fixture
def some() -> Questions:
    """Three questions of 2, 4 and 3 choices; text 9 occurs twice; the last has no context."""
    return questions([5, 9, -1], [[3, 9, -1, -1], [0, 1, 2, 3], [7, 4, 8, -1]], [1, 3, 0])


def test_counts_answers_and_texts(some: Questions) -> None:
    assert len(some) == 3
    assert some.counts.tolist() == [2, 4, 3]
    assert some.answers.tolist() == [9, 3, 7]
    assert some.texts.tolist() == [0, 1, 2, 3, 4, 5, 7, 8, 9]


def test_select_keeps_the_order_asked_for_and_drops_empty_columns(some: Questions) -> None:
    part = some.select([2, 0])
    assert part.choices.tolist() == [[7, 4, 8], [3, 9, -1]]
    assert part.context.tolist() == [-1, 5]
    assert part.labels.tolist() == [0, 1]
    assert part.direction.shape == (2, 2)


def test_renumber_is_the_inverse_of_looking_up(some: Questions) -> None:
    positions = some.texts[torch.tensor([3, 0, 8, 1, 2, 7, 6, 4, 5])]
    small = some.renumber(positions)
    for before, after in ((some.context, small.context), (some.choices, small.choices)):
        assert torch.equal((before < 0), (after < 0))
        assert torch.equal(positions[after[after >= 0]], before[before >= 0])
    assert small.labels is some.labels


@pytest.mark.parametrize(
    ("relation", "expected"),
    [
        ("effect", [Text("context", "a"), Text("context", "b")]),
        ("cause", [Text("a", "context", 1), Text("b", "context", 1)]),  # the cause comes first
        ("answer", [Text("context", "a"), Text("context", "b")]),
        ("none", [Text("a", None, None), Text("b", None, None)]),
    ],
)
def test_cross_puts_the_cause_first(relation: Relation, expected: list[Text]) -> None:
    assert texts_of(Phrased("context", ("a", "b"), relation), "cross") == (None, expected)


def test_dual_encodes_context_and_choices_apart() -> None:
    for relation in ("effect", "cause", "answer"):
        phrased = Phrased("context", ("a", "b"), relation)  # type: ignore[arg-type]
        assert texts_of(phrased, "dual") == (Text("context"), [Text("a", None, None), Text("b", None, None)])


@pytest.mark.parametrize("relation", ["effect", "cause", "answer"])
def test_joint_is_cross_with_the_context_beside_it(relation: Relation) -> None:
    phrased = Phrased("context", ("a", "b"), relation)
    assert texts_of(phrased, "joint") == (Text("context"), texts_of(phrased, "cross")[1])


@pytest.mark.parametrize("kind", ["dual", "joint"])
def test_a_task_without_a_context_is_cross_only(kind: str) -> None:
    with pytest.raises(UserError, match=rf"without a context .*{kind}.*\(scoring\.kind\): use cross"):
        texts_of(Phrased("", ("a", "b"), "none"), kind)


def encode(
    store: ActivationCache, kind: str, examples: list[Example], relations: list[Relation], **more: bool
) -> TaskData:
    by_id = {e.id: r for e, r in zip(examples, relations, strict=True)}
    return encode_task(
        examples, lambda e: Phrased(e.context, e.choices, by_id[e.id]), store, kind=kind, **more
    )


EXAMPLES = [
    Example("x", "it rains", "effect", ("streets are wet", "sun shines"), 0, "en", "t"),
    Example("y", "sun shines", "cause", ("it rains", "clouds left", "night fell"), 1, "en", "t"),
    Example("z", "it rains", "", ("sun shines", "take a coat"), None, "en", "t"),
]
RELATIONS: list[Relation] = ["effect", "cause", "answer"]


def test_encoded_questions_point_at_their_texts(toy_store: ActivationCache) -> None:
    data = encode(toy_store, "dual", EXAMPLES, RELATIONS)
    q = data.questions
    assert q.context.tolist() == toy_store.ensure([Text(e.context) for e in EXAMPLES])
    number = {c: toy_store.ensure([Text(c, cuttable=None)])[0] for e in EXAMPLES for c in e.choices}
    for row, example in zip(q.choices.tolist(), EXAMPLES, strict=True):
        assert row == [number[c] for c in example.choices] + [-1] * (3 - len(example.choices))
    assert q.direction.tolist() == [[1, 0], [0, 1], [0.5, 0.5]]
    assert q.labels.tolist() == [0, 1, -1]
    assert (data.task, data.language, data.ids, q.sign) == ("t", "en", ["x", "y", "z"], 1.0)


def test_cross_questions_have_no_context_of_their_own(toy_store: ActivationCache) -> None:
    data = encode(toy_store, "cross", EXAMPLES, ["effect", "cause", "none"], implausible=True)
    assert data.questions.context.tolist() == [-1, -1, -1]
    expected = toy_store.ensure(
        [
            Text("it rains", "sun shines"),
            Text("clouds left", "sun shines", 1),
            Text("take a coat", None, None),
        ]
    )
    choices = data.questions.choices
    assert [int(choices[0, 1]), int(choices[1, 1]), int(choices[2, 1])] == expected
    assert data.questions.sign == -1.0


@pytest.mark.parametrize("kind", ["dual", "joint", "cross"])
def test_a_batch_holds_exactly_its_texts(toy_store: ActivationCache, kind: str) -> None:
    data = encode(toy_store, kind, EXAMPLES, RELATIONS)
    batch = make_batch(data, [1, 0], toy_store)
    stored = data.questions.select([1, 0])
    lengths = batch.trunk.lengths.tolist()
    assert lengths == sorted(lengths)
    assert len(lengths) == len(stored.texts)  # a text that occurs twice is carried once
    assert batch.tokens == sum(lengths)
    parts = torch.split(batch.trunk.hidden, lengths)
    for before, after in (
        (stored.context, batch.questions.context),
        (stored.choices, batch.questions.choices),
    ):
        for position, place in zip(before.reshape(-1).tolist(), after.reshape(-1).tolist(), strict=True):
            assert (position < 0) == (place < 0)
            if position >= 0:
                assert torch.equal(parts[place], toy_store.gather([position]).hidden)
    assert batch.questions.labels.tolist() == [1, 0]


def test_subset_follows_the_ids(toy_task: Callable[..., TaskData]) -> None:
    data = toy_task(size=6, choices=(2, 3))
    part = data.subset(["toy-4", "toy-1"])
    assert part.ids == ["toy-4", "toy-1"]
    assert torch.equal(part.questions.labels, data.questions.labels[torch.tensor([4, 1])])
    assert part.questions.counts.tolist() == [2, 3]
    assert len(part) == 2


def test_no_examples_is_an_error(toy_store: ActivationCache) -> None:
    with pytest.raises(UserError, match="no examples"):
        encode(toy_store, "dual", [], [])


@pytest.mark.parametrize(
    ("kind", "relation", "context", "choice", "refused"),
    [
        ("dual", "effect", "word " * 60, "short", False),
        ("dual", "effect", "short", "word " * 60, True),
        ("cross", "cause", "short", "word " * 60, True),
        ("cross", "none", "", "word " * 60, True),
        ("cross", "cause", "word " * 60, "short", False),
        ("cross", "effect", "word " * 60, "short", False),
        ("cross", "effect", "short", "word " * 60, True),
    ],
)
def test_contexts_are_cut_and_choices_never(
    toy_store: ActivationCache, kind: str, relation: Relation, context: str, choice: str, refused: bool
) -> None:
    example = Example("long", context, "", ("other", choice), 0, "en", "t")
    if not refused:
        assert len(encode(toy_store, kind, [example], [relation])) == 1
        return
    with pytest.raises(UserError, match=r"choice does not fit into 32 tokens \('word .*encoder\.max_tokens"):
        encode(toy_store, kind, [example], [relation])
