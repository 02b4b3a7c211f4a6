import pytest

from metaxcr.errors import UserError
from metaxcr.tasks.leaks import check_leaks, identity, normalise, overlap, without_overlap, wording
from metaxcr.tasks.registry import load


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
    with pytest.raises(UserError, match=r"1 training examples .*toy/en/a = other/en/b.*\(sources / test\)"):
        check_leaks([make_example(id="a")], [make_example(id="b", task="other")], where="sources / test")
    check_leaks([make_example()], [make_example(context="Something else.")], where="sources / test")


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
    ],
)
def test_translations_and_mirrors_are_leaks(make_example, trained, evaluated):
    def example(place, text):
        task, language, item = place
        return make_example(task=task, language=language, id=item, context=text, choices=(text, text + "!b"))

    with pytest.raises(UserError, match="also evaluated"):
        check_leaks([example(trained, "one")], [example(evaluated, "two")], where="here")


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

    one, two = [example(trained, "one")], [example(evaluated, "two")]
    check_leaks(one, two, where="here")
    assert overlap(one, two) == []


def test_overlap_can_be_taken_out(make_example):
    train = [make_example(id="a"), make_example(id="b", context="Other."), make_example(id="c")]
    evaluated = [make_example(id="d")]
    assert [source.id for source, _ in overlap(train, evaluated)] == ["a", "c"]
    assert without_overlap(train, evaluated) == [train[1]]


@pytest.mark.real
def test_what_is_known_about_the_official_sets(data_root):
    def official(task, split, language="en"):
        return load(task, split, language=language, root=data_root).examples

    mirrors = official("balanced_copa", "train")
    check_leaks(
        [*official("copa", "train"), *mirrors], official("xcopa_en", "test"), where="copa / xcopa test"
    )
    assert len(overlap(mirrors, official("xcopa", "val", "th"))) == 200
    assert {identity(e) for e in official("copa", "val")} == {
        identity(e) for e in official("xcopa", "val", "et")
    }
    ecare, dev = official("ecare", "train"), official("ecare", "dev")
    assert len({wording(evaluated) for _, evaluated in overlap(ecare, dev)}) == 48
    check_leaks(without_overlap(ecare, dev), dev, where="ecare")


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
