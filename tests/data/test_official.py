"""The official files against plain Python: rows, labels and texts, without a line of the package's readers.

The numbers are those of the data's manifest, written down here by hand and not taken from the declarations.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from metaxcr.data.corpora import corpus_ids, corpus_spec, load_pairs, load_text
from metaxcr.data.phrasing import phrase
from metaxcr.data.registry import files_of, load, task_ids, task_spec
from metaxcr.data.validation import verify_repair
from metaxcr.errors import UserError

pytestmark = pytest.mark.real

XCOPA = ["et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh"]
GMT = [language for language in XCOPA if language != "qu"]
STORIES = ["en", "ar", "es", "eu", "hi", "id", "ru", "sw", "zh"]
WINOGRAD = {"en": 2325, "jp": 959, "ru": 315, "pt": 263, "fr": 83, "zh": 16}
FLORES = [
    "arb_Arab",
    "deu_Latn",
    "eng_Latn",
    "spa_Latn",
    "est_Latn",
    "eus_Latn",
    "pes_Arab",
    "fra_Latn",
    "hat_Latn",
    "ind_Latn",
    "ita_Latn",
    "jpn_Jpan",
    "kor_Hang",
    "por_Latn",
    "quy_Latn",
    "rus_Cyrl",
    "swh_Latn",
    "tam_Taml",
    "tha_Thai",
    "tur_Latn",
    "vie_Latn",
    "zho_Hans",
]
UDHR = {
    **dict.fromkeys(["en", "es", "et", "ht", "id", "it", "ko", "sw", "tr", "vi"], 92),
    **dict.fromkeys(["ar", "fr", "ru"], 91),
    **dict.fromkeys(["ja", "pt", "ta", "th", "zh"], 90),
    "qu": 87,
}
STORY = "xstorycloze/spring2016.val.{}.tsv.split_20_80_{}.tsv"
ROWS = {
    "alphanli/dev-labels.lst": 1532,
    "alphanli/dev.jsonl": 1532,
    "arc/ARC-Challenge-Dev.jsonl": 299,
    "arc/ARC-Easy-Dev.jsonl": 570,
    "balanced_copa/balanced-copa-dev-all.xml": 1000,
    "codah/full_data.tsv": 2776,
    "codah/cv_split/fold_0/dev.tsv": 556,
    "codah/cv_split/fold_0/test.tsv": 555,
    "codah/cv_split/fold_0/train.tsv": 1665,
    "commonsenseqa/dev_rand_split.jsonl": 1221,
    "commonsenseqa/test_rand_split_no_answers.jsonl": 1140,
    "commonsenseqa/train_rand_split.jsonl": 9741,
    "copa/test.jsonl": 500,
    "copa/train.jsonl": 400,
    "copa/val.jsonl": 100,
    "cosmosqa/valid.csv": 2985,
    "ecare/Causal_Reasoning/dev.jsonl": 2132,
    "ecare/Causal_Reasoning/train.jsonl": 14928,
    "hellaswag/hellaswag_val.jsonl": 10042,
    "openbookqa/dev.jsonl": 500,
    "openbookqa/test.jsonl": 500,
    "openbookqa/train.jsonl": 4957,
    "piqa/valid-labels.lst": 1838,
    "piqa/valid.jsonl": 1838,
    "qasc/dev.jsonl": 926,
    "qasc/mcq_train.json": 8134,
    "socialiqa/socialIQa_v1.4/socialIQa_v1.4_dev.jsonl": 1954,
    "socialiqa/socialIQa_v1.4/socialIQa_v1.4_tst.jsonl": 2224,
    "socialiqa/socialiqa-train-dev/dev-labels.lst": 1954,
    "socialiqa/socialiqa-train-dev/dev.jsonl": 1954,
    "socialiqa/socialiqa-train-dev/train-labels.lst": 33410,
    "socialiqa/socialiqa-train-dev/train.jsonl": 33410,
    "xcopa_en/test.en.jsonl": 500,
    "xcopa_en/val.en.jsonl": 100,
    "xwinograd/dataset.tsv": 3961,
    **{
        f"comve/{folder} Data/subtask{part}_{name}.csv": rows
        for folder, names, rows in (
            ("Dev", ["dev_data", "gold_answers"], 997),
            ("Test", ["test_data", "gold_answers"], 1000),
            ("Training", ["data_all", "answers_all"], 10000),
        )
        for part in "AB"
        for name in names
    },
    **{
        f"winogrande/{part}{end}": rows
        for part, rows in (
            ("dev", 1267),
            ("train_l", 10234),
            ("train_m", 2558),
            ("train_s", 640),
            ("train_xs", 160),
        )
        for end in (".jsonl", "-labels.lst")
    },
    **{f"xcopa/data/{lang}/test.{lang}.jsonl": 500 for lang in XCOPA},
    **{f"xcopa/data/{lang}/val.{lang}.jsonl": 100 for lang in XCOPA},
    **{f"xcopa/data-gmt/{lang}/test.{lang}.jsonl": 500 for lang in GMT},
    **{f"xcopa/data-gmt/{lang}/val.{lang}.jsonl": 100 for lang in GMT},
    **{STORY.format(lang, "eval"): 1511 for lang in STORIES},
    **{STORY.format(lang, "train"): 360 for lang in STORIES},
    **{f"flores200/dev/{code}.dev": 997 for code in FLORES},
    **{f"flores200/devtest/{code}.devtest": 1012 for code in FLORES},
    **{f"udhr/udhr_{lang}.txt": rows for lang, rows in UDHR.items()},
    **{
        f"bli/xling_eval/en-{lang}/yacle.{part}.en-{lang}.tsv": rows
        for lang in ("de", "fr", "it", "ru", "tr")
        for part, rows in (("test.freq.2k", 2000), ("train.freq.5k", 5000))
    },
}

Gold = list[tuple[list[str], int | None]]  # choices and label of each row


def lines(path: Path) -> list[str]:
    return [line for line in path.read_bytes().decode().split("\n") if line.strip()]


def objects(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(path)]


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.reader(stream))


def tabs(path: Path) -> list[list[str]]:
    return [line.rstrip("\r").split("\t") for line in lines(path)]


def key(row: dict[str, Any]) -> tuple[list[str], int | None]:
    choices = row["question"]["choices"]
    keys = [choice["label"] for choice in choices]
    return [choice["text"] for choice in choices], keys.index(
        row["answerKey"]
    ) if "answerKey" in row else None


def copa_rows(path: Path) -> Gold:
    return [([row["choice1"], row["choice2"]], row.get("label")) for row in objects(path)]


def copa_items(path: Path) -> Gold:
    items = ElementTree.parse(path).getroot().iter("item")
    return [
        (
            [str(item.findtext("a1")), str(item.findtext("a2"))],
            int(item.attrib["most-plausible-alternative"]) - 1,
        )
        for item in items
    ]


def social(path: Path) -> Gold:
    rows = objects(path)
    if "correct" in rows[0]:
        labels = ["ABC".index(row["correct"]) for row in rows]
    else:
        labels = [int(line) - 1 for line in lines(path.with_name(f"{path.stem}-labels.lst"))]
    return [
        ([row[f"answer{letter}"] for letter in "ABC"], label) for row, label in zip(rows, labels, strict=True)
    ]


def beside(first: str, second: str, start: int) -> Callable[[Path], Gold]:
    def read(path: Path) -> Gold:
        labels = [int(line) - start for line in lines(path.with_name(f"{path.stem}-labels.lst"))]
        return [([row[first], row[second]], label) for row, label in zip(objects(path), labels, strict=True)]

    return read


def comve(path: Path) -> Gold:
    name = path.name.replace("data_all", "answers_all")
    name = name.replace("dev_data", "gold_answers").replace("test_data", "gold_answers")
    answers = dict(table(path.with_name(name)))
    kinds = "ABC" if "subtaskB" in name else "01"
    first = 2 if "subtaskB" in name else 1
    return [
        ([choice for choice in row[first:] if choice], kinds.index(answers[row[0]]))
        for row in table(path)[1:]
    ]


def winograd(path: Path, code: str) -> Gold:
    candidates = [json.loads(row[6]) for row in tabs(path) if row[0] == code]
    return [([one[0] for one in row], [one[3] for one in row].index(True)) for row in candidates]


READ: dict[str, Callable[[Path], Gold]] = {
    "alphanli": beside("hyp1", "hyp2", 1),
    "arc": lambda path: [key(row) for row in objects(path)],
    "balanced_copa": copa_items,
    "codah": lambda path: [(row[2:6], int(row[6])) for row in tabs(path)],
    "commonsenseqa": lambda path: [key(row) for row in objects(path)],
    "comve": comve,
    "comve_b": comve,
    "copa": copa_rows,
    "cosmosqa": lambda path: [(row[3:7], int(row[7])) for row in table(path)[1:]],
    "ecare": lambda path: [([row["hypothesis1"], row["hypothesis2"]], row["label"]) for row in objects(path)],
    "hellaswag": lambda path: [(row["endings"], row["label"]) for row in objects(path)],
    "openbookqa": lambda path: [key(row) for row in objects(path)],
    "piqa": beside("sol1", "sol2", 0),
    "qasc": lambda path: [
        ([row[f"choice{n}"] for n in range(8)], int(row["label"])) if "choice0" in row else key(row)
        for row in objects(path)
    ],
    "socialiqa": social,
    "winogrande": beside("option1", "option2", 1),
    "xcopa": copa_rows,
    "xcopa_en": copa_rows,
    "xcopa_gmt": copa_rows,
    "xstorycloze": lambda path: [(row[5:7], int(row[7]) - 1) for row in tabs(path)[1:]],
}
# (task, split) -> how often each label is right; None: the labels are hidden
BALANCE: dict[tuple[str, str], list[int] | None] = {
    ("alphanli", "dev"): [781, 751],
    ("arc", "easy_dev"): [158, 152, 142, 118],
    ("arc", "challenge_dev"): [64, 73, 78, 83, 1],
    ("comve_b", "train"): [3195, 3362, 3443],
    ("comve_b", "dev"): [344, 327, 326],
    ("comve_b", "test"): [320, 355, 325],
    ("commonsenseqa", "test"): None,
    ("copa", "test"): None,
    ("cosmosqa", "valid"): [744, 729, 761, 751],
    ("hellaswag", "val"): [2515, 2485, 2584, 2458],
    ("piqa", "valid"): [910, 928],
    ("socialiqa", "v14_dev"): [643, 654, 657],
    ("socialiqa", "v14_test"): [720, 754, 750],
    ("winogrande", "train_xs"): [80, 80],
    ("winogrande", "dev"): [628, 639],
    ("xcopa", "val"): [55, 45],
    ("xcopa", "test"): [250, 250],
    ("xcopa_gmt", "val"): [55, 45],
    ("xcopa_gmt", "test"): [250, 250],
    ("xstorycloze", "train"): [164, 196],
    ("xstorycloze", "test"): [798, 713],
}
# parts of a file: each COPA item stands before its mirror, and the first 400 of 500 are COPA's train part
PARTS = {("balanced_copa", "mirrored"): slice(1, 800, 2)}
CHOICES = {"codah": {4}, "commonsenseqa": {5}, "cosmosqa": {4}, "hellaswag": {4}, "openbookqa": {4}}
CHOICES |= {"arc": {3, 4, 5}, "comve_b": {2, 3}, "qasc": {8}, "socialiqa": {3}}  # the others offer 2


@pytest.mark.parametrize("name", ROWS)
def test_every_official_file_has_its_rows(data_root: Path, name: str) -> None:
    path = data_root / name
    if path.suffix == ".csv":
        rows = len(table(path)) - (0 if "answers" in name else 1)
    elif path.suffix == ".xml":
        rows = len(copa_items(path))
    else:
        rows = len(lines(path)) - (1 if name.startswith("xstorycloze") else 0)
    assert rows == ROWS[name]


def test_every_official_file_is_declared(data_root: Path) -> None:
    declared = {name for task in task_ids() for name in files_of(task_spec(task))}
    for name in corpus_ids():
        declared |= {
            corpus_spec(name).files_of(split, code)[0]
            for split in corpus_spec(name).splits
            for code in corpus_spec(name).languages
        }
    assert set(ROWS) <= declared
    there = {path.relative_to(data_root).as_posix() for path in data_root.rglob("*") if path.is_file()}
    notes = re.compile(r"(?i)(^|/)(licen[cs]e|readme|manifest|metadata_|sha256sums|fetched)")
    assert {name for name in there if not notes.search(name)} <= declared


@pytest.mark.parametrize("task_id", READ)
def test_labels_and_choices_are_those_of_the_file(data_root: Path, task_id: str) -> None:
    spec, seen = task_spec(task_id), set()
    for split in spec.splits:
        for language in spec.split_languages(split):
            name = spec.files_of(split, language)[0]
            if name not in ROWS:
                continue  # not among the files of the manifest
            seen.add(name)
            gold = READ[task_id](data_root / name)
            assert len(gold) == ROWS[name]
            gold = gold[PARTS.get((task_id, split), slice(None))]
            examples = load(task_id, split, language=language, root=data_root).examples
            assert len(examples) == len(gold) == spec.splits[split].expected(language)
            assert [e.choices for e in examples] == [tuple(map(str.strip, choices)) for choices, _ in gold]
            assert [e.label for e in examples] == [label for _, label in gold]
            assert {len(e.choices) for e in examples} <= CHOICES.get(task_id, {2})
            balance = BALANCE.get((task_id, split), [])
            counted = Counter(label for _, label in gold)
            if balance is None:
                assert counted == {None: len(gold)}
            elif balance:
                assert [counted[n] for n in range(len(balance))] == balance and sum(balance) == len(gold)
    assert seen == {
        name
        for name in files_of(spec)
        if name in ROWS and not re.search(r"-labels|answers_all|gold_answers", name)
    }


@pytest.mark.parametrize("code", WINOGRAD)
def test_xwinograd_by_language(data_root: Path, code: str) -> None:
    language = "ja" if code == "jp" else code
    gold = winograd(data_root / "xwinograd/dataset.tsv", code)
    loaded = load("xwinograd", "test", language=language, root=data_root)
    assert (
        len(gold) == len(loaded.examples) == WINOGRAD[code] == loaded.spec.splits["test"].expected(language)
    )
    assert [(list(e.choices), e.label) for e in loaded.examples] == [
        ([choice.strip() for choice in choices], label) for choices, label in gold
    ]
    assert all(e.context.count("_") == 1 for e in loaded.examples)


def test_the_blank_stands_behind_the_tokens_before_the_pronoun(data_root: Path) -> None:
    def letters(text: str) -> str:
        return re.sub(r"[^\w]|_", "", text)

    odd = Counter()
    contexts = {
        int(example.id.removeprefix("test-")): example.context
        for code in WINOGRAD
        for example in load(
            "xwinograd", "test", language="ja" if code == "jp" else code, root=data_root
        ).examples
    }
    assert len(contexts) == 3961
    for number, row in enumerate(tabs(data_root / "xwinograd/dataset.tsv"), start=1):
        tokens, (span, (first, _), *_) = json.loads(row[4]), json.loads(row[5])
        before, after = contexts[number].split("_")
        if row[0] == "zh" and span == "为":
            odd["because"] += 1
            assert before.endswith("因为")
            continue
        assert letters(before) == letters("".join(tokens[:first])), number
        whole = re.sub(r"\s", "", row[3])
        filled = re.sub(r"\s", "", before) + "|" + re.sub(r"\s", "", after)
        taken = len(whole) - len(filled) + 1
        if taken != len(re.sub(r"\s", "", span)):
            odd[row[0]] += 1
            assert len(letters(span)) >= taken > 0, number
    assert odd == {"ru": 16, "jp": 42, "because": 4}


def test_a_sentence_that_begins_with_the_blank_is_its_own_context(data_root: Path) -> None:
    loaded = load("xwinograd", "test", language="ja", root=data_root)
    (example,) = (e for e in loaded.examples if e.context.startswith("_"))
    phrased = phrase(example, loaded.spec)
    assert phrased.context == example.context == "_が勝った後、勝者に賞品が授与された。"
    assert phrased.choices[0] == "勝者が勝った後、勝者に賞品が授与された。" and phrased.relation == "effect"


# (task, split, language, id, text of the right answer), each read and judged by eye
JUDGED = [
    ("copa", "train", "en", "train-0", "The sun was rising."),
    ("copa", "train", "en", "train-166", "The car accelerated."),
    ("copa", "train", "en", "train-78", "The girl spread a rumor about her friend."),
    ("balanced_copa", "train", "en", "1", "The sun was rising."),
    ("balanced_copa", "train", "en", "1203", "He planted a variety of seeds."),
    ("balanced_copa", "train", "en", "1334", "She had an allergic reaction."),
    ("socialiqa", "dev", "en", "dev-1", "Find somewhere to go"),
    ("socialiqa", "dev", "en", "dev-100", "issue a warning"),
    ("socialiqa", "dev", "en", "dev-150", "angry at Kai"),
    ("socialiqa", "v14_test", "en", "v14_test-1", "thank bailey"),
    ("socialiqa", "v14_test", "en", "v14_test-2196", "be embarrassed to have been caught watching"),
    ("socialiqa", "v14_test", "en", "v14_test-387", "was weak from being sick"),
    ("commonsenseqa", "dev", "en", "1afa02df02c908a558b4036e80242fac", "bank"),
    ("commonsenseqa", "dev", "en", "c1c73ef0ff662a76cd42c3500240974a", "furniture store"),
    ("commonsenseqa", "dev", "en", "1ddd239a2a6438a891cb411b82e7f450", "television"),
    ("winogrande", "dev", "en", "3FCO4VKOZ4BJQ6IFC0VAIBK4KTWE7U-2", "Maria"),
    ("winogrande", "dev", "en", "32TMVRKDGPCKS7PCHXN3FNSGBGV84O-1", "auditorium"),
    ("winogrande", "dev", "en", "3MA5N0ATTEPGWAAX0SQP0KKYQ9NWKG-2", "crossbow"),
    ("ecare", "dev", "en", "dev-0", "The woman gave birth to a child."),
    ("ecare", "dev", "en", "dev-880", "He can't write with this pen."),
    ("ecare", "dev", "en", "dev-154", "Tom filled the bath tub with hot water."),
    ("codah", "test", "en", "test-1", "met her friends at the gate."),
    ("codah", "test", "en", "test-90", "study less."),
    (
        "codah",
        "test",
        "en",
        "test-446",
        "was inaccurately colored by a child, with hues of pink, purple, and orange.",
    ),
    ("openbookqa", "test", "en", "8-343", "quit eating lunch out"),
    ("openbookqa", "test", "en", "9-528", "the heart"),
    ("openbookqa", "test", "en", "9-540", "the apple sitting on a sunny sidewalk"),
    (
        "cosmosqa",
        "valid",
        "en",
        "3BFF0DJK8XA7YNK4QYIGCOG1A95STE##",
        "He wants to get married to a different person .",
    ),
    ("cosmosqa", "valid", "en", "3GS542CVJX122VCM0UCRKBT5US495Y##", "I was having a workout session"),
    (
        "cosmosqa",
        "valid",
        "en",
        "3UUIU9GZC7JLMAL0Y0H8BBUIQ8N5TW##3SPJ033424ISXFX9NAE39M1QFRAJY6##A1S1K7134S2VUC##Blog_1394479##q1_a2##",
        "The child wants to hide from all the surroundings with a familiar person .",
    ),
    (
        "piqa",
        "valid",
        "en",
        "valid-1",
        "Provide the guinea pig with a cage full of a few inches of bedding made of ripped paper",
    ),
    (
        "piqa",
        "valid",
        "en",
        "valid-1130",
        "Secure the pipe in a vice and then use a hacksaw to cut the pipe to size",
    ),
    ("piqa", "valid", "en", "valid-871", "Hook a plastic bag around the faucet head in your kitchen sink"),
    ("alphanli", "dev", "en", "dev-1", "Ron ignores his bosses's orders and called him an idiot."),
    ("alphanli", "dev", "en", "dev-123", "Tia had dinner with her parents."),
    ("alphanli", "dev", "en", "dev-1160", "The DJ wouldn't play any other type of music that was requested."),
    ("hellaswag", "val", "en", "val-1", "starts pulling up roofing on a roof."),
    ("hellaswag", "val", "en", "val-2030", "finally reaches a weight that is too heavy for her to lift"),
    (
        "hellaswag",
        "val",
        "en",
        "val-3659",
        "If, on the other hand, you prefer a zipper, choose dress trousers",
    ),
    ("arc", "easy_dev", "en", "MCAS_2000_4_6", "cellular telephone"),
    ("arc", "easy_dev", "en", "Mercury_7041948", "The atom has 20 protons."),
    ("arc", "easy_dev", "en", "TIMSS_2007_8_pg105", "To absorb light energy"),
    ("arc", "challenge_dev", "en", "Mercury_SC_407695", "Record the details of the investigation."),
    ("arc", "challenge_dev", "en", "Mercury_405454", "solar cooker"),
    ("arc", "challenge_dev", "en", "NYSEDREGENTS_2014_4_1", "amount of light"),
    ("qasc", "train", "en", "train-1", "beads"),
    ("qasc", "train", "en", "train-4562", "lake"),
    ("qasc", "dev", "en", "3NGI5ARFTT4HNGVWXAMLNBMFA0U1PG", "local weather conditions"),
    ("comve", "test", "en", "1175", "He loves to stroll at the park with his bed"),  # against common sense
    ("comve", "test", "en", "1605", "Sunlight grows in plants."),
    ("comve", "test", "en", "1817", "I saw an elephant on a bicycle."),
    ("comve_b", "train", "en", "0", "Orange juice doesn't taste good on cereal."),
    ("comve_b", "train", "en", "4745", "Charging cell phones won't help to add memory"),
    ("comve_b", "train", "en", "6868", "Scarves should be worn around the neck, not around the waist."),
    ("xcopa", "test", "it", "test-0", "Era delicato."),
    ("xcopa", "test", "it", "test-74", "L'arbitro aveva preso una decisione sbagliata."),
    ("xcopa", "test", "it", "test-277", "La loro casa è andata in fiamme."),
    ("xcopa_en", "test", "en", "test-0", "It was fragile."),
    ("xcopa_en", "test", "en", "test-61", "She was fired from her position."),
    ("xcopa_en", "test", "en", "test-293", "She realized the card was missing."),
    ("xcopa_gmt", "test", "tr", "test-0", "It was fragile."),
    ("xcopa_gmt", "test", "tr", "test-281", "They held an auction."),
    ("xcopa_gmt", "test", "tr", "test-365", "The sun caught my eye."),
    ("xwinograd", "test", "en", "test-1265", "Jack Johnson"),
    ("xwinograd", "test", "fr", "test-2326", "La coupe"),
    ("xwinograd", "test", "zh", "test-3698", "徐曼曼"),
    ("xstorycloze", "test", "es", "fec30953-c68e-4d9d-9698-384bfe8fe857", "Al final, los vi todos."),
    (
        "xstorycloze",
        "test",
        "es",
        "e245afa1-99b1-440c-91b6-f2e511c64380",
        "Timoteo tiene miedo de montarse en su moto.",
    ),
    ("xstorycloze", "test", "es", "ca7ffb91-a043-4ab6-adcf-d43917f8e882", "Sus padres regañaron a Emilia."),
]


@pytest.mark.parametrize(("task_id", "split", "language", "identity", "right"), JUDGED)
def test_the_label_points_at_the_answer_that_makes_sense(
    data_root: Path, task_id: str, split: str, language: str, identity: str, right: str
) -> None:
    examples = load(task_id, split, language=language, root=data_root).examples
    starts = identity.endswith("##")
    (example, *_) = (e for e in examples if (e.id.startswith(identity) if starts else e.id == identity))
    assert example.label is not None and example.choices[example.label].startswith(right)


WRONG = {  # rows whose question differs from English in the official files: val, test
    **dict.fromkeys(["et", "ht", "qu", "ta", "vi", "zh"], (0, 0)),
    "th": (52, 250),
    "tr": (52, 51),
    "sw": (6, 37),
    "id": (5, 4),
    "it": (5, 4),
}


@pytest.mark.parametrize("task_id", ["xcopa", "xcopa_gmt"])
@pytest.mark.parametrize("language", XCOPA)
def test_xcopa_raw_and_repaired(data_root: Path, task_id: str, language: str) -> None:
    if language not in task_spec(task_id).languages:
        return
    for split, wrong in zip(("val", "test"), WRONG[language], strict=True):
        english = {
            row["idx"]: row["question"] for row in objects(data_root / "xcopa_en" / f"{split}.en.jsonl")
        }
        folder = "data" if task_id == "xcopa" else "data-gmt"
        file = data_root / "xcopa" / folder / language / f"{split}.{language}.jsonl"
        official = {row["idx"]: row["question"] for row in objects(file)}
        assert sum(official[n] != english[n] for n in english) == wrong
        raw = load(task_id, split, language=language, root=data_root, raw=True)
        mended = load(task_id, split, language=language, root=data_root)
        assert {e.id: e.question for e in raw.examples} == {f"{split}-{n}": q for n, q in official.items()}
        assert {e.id: e.question for e in mended.examples} == {f"{split}-{n}": q for n, q in english.items()}
        assert (raw.repaired, mended.repaired) == (0, wrong)


def test_the_translations_have_the_repairs_of_xcopa(data_root: Path) -> None:
    assert task_spec("xcopa_gmt").repairs == task_spec("xcopa").repairs
    assert verify_repair(data_root) == []


def test_the_translations_are_english_under_the_language_they_come_from(data_root: Path) -> None:
    (first, *_) = load("xcopa_gmt", "val", language="et", root=data_root).examples
    assert (first.language, first.context) == ("et", "The man opened the tap.")
    with pytest.raises(UserError, match="'qu'"):
        load("xcopa_gmt", "val", language="qu", root=data_root)


def test_what_the_parts_of_comve_share(data_root: Path) -> None:
    for split in ("train", "dev", "test"):
        against = {e.id: e.choices[e.label or 0] for e in load("comve", split, root=data_root).examples}
        assert against == {e.id: e.context for e in load("comve_b", split, root=data_root).examples}


def test_both_releases_of_socialiqa_agree(data_root: Path) -> None:
    old, new = (load("socialiqa", split, root=data_root).examples for split in ("dev", "v14_dev"))
    assert [(e.context, e.question, e.choices, e.label) for e in old] == [
        (e.context, e.question, e.choices, e.label) for e in new
    ]


@pytest.mark.parametrize("name", ["flores200", "udhr", "bli"])
def test_texts_are_read_whole(data_root: Path, name: str) -> None:
    declared = corpus_spec(name)
    for split in declared.splits:
        for language in declared.languages:
            path = data_root / declared.files_of(split, language)[0]
            if declared.kind == "lexicon":
                assert [list(pair) for pair in load_pairs(name, language, split, root=data_root)] == tabs(
                    path
                )
            else:
                assert load_text(name, language, split, root=data_root).lines == lines(path)
            count = declared.lines[split]
            assert ROWS[path.relative_to(data_root).as_posix()] == (
                count[language] if isinstance(count, dict) else count
            )


@pytest.mark.parametrize(
    ("name", "language", "split", "pair"),
    [
        ("bli", "de", "train", ("of", "von")),
        ("bli", "tr", "test", ("dedication", "ithaf")),
        ("bli", "ru", "test", ("desires", "желания")),
    ],
)
def test_words_and_their_translations(
    data_root: Path, name: str, language: str, split: str, pair: tuple[str, str]
) -> None:
    assert pair in load_pairs(name, language, split, root=data_root)
