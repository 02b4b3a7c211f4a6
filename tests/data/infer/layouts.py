"""Files as people have them: one invented data set of twelve questions, written in many layouts."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_PEOPLE = (
    "Asha",
    "Boris",
    "Chen",
    "Dalia",
    "Emre",
    "Fatou",
    "Goran",
    "Hana",
    "Ivo",
    "Juma",
    "Kemal",
    "Lucia",
)
_THINGS = (
    "lamp",
    "knife",
    "letter",
    "basket",
    "coat",
    "drum",
    "ladder",
    "kettle",
    "map",
    "rope",
    "jar",
    "stove",
)
_PLACES = ("shelf", "roof", "table", "bench", "wall", "boat", "cart", "bed", "gate", "stairs", "box", "desk")


@dataclass(frozen=True)
class Item:
    """A question with its right answer at the position ``label`` of its choices."""

    n: int
    passage: str
    question: str
    choices: tuple[str, ...]
    label: int

    @property
    def right(self) -> str:
        return self.choices[self.label]

    @property
    def wrong(self) -> list[str]:
        return [choice for choice in self.choices if choice != self.right]


def items(n: int = 12, choices: int = 4) -> list[Item]:
    """Invent questions."""
    found = []
    for k in range(n):
        who, thing, place = _PEOPLE[k % 12], _THINGS[k % 12], _PLACES[k % 12]
        wrong = [f"behind the {_PLACES[(k + d) % 12]}" for d in range(1, choices)]
        label = (k * 3 + k // 4) % choices
        wrong.insert(label, f"on the {place}")
        passage = f"{who} carried the {thing} home and put it on the {place} before it rained again."
        found.append(Item(k, passage, f"Where did {who} leave the {thing} {k}?", tuple(wrong), label))
    return found


def pairs(n: int = 12) -> list[Item]:
    """Invent premises with two choices."""
    return items(n, 2)


@dataclass(frozen=True)
class Layout:
    """A file, and what is to be understood of it.

    Attributes:
        name: What the layout is known from.
        file: Its name.
        content: The file.
        items: What it holds.
        context, question: What an example is to have there.
        labelled: Whether it has labels.
        shuffled: Whether the choices come in an order of their own.
        told: What the notes must say.
        silent: Whether there must be no warning.
        options: Of the command line.
        refused: The file is refused, and the message says this.
    """

    name: str
    file: str
    content: str | bytes
    items: Sequence[Item]
    context: Callable[[Item], str] = lambda item: item.passage
    question: Callable[[Item], str] = lambda item: item.question
    labelled: bool = True
    shuffled: bool = False
    told: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    refused: str | None = None
    language: str = "en"


LAYOUTS: list[Layout] = []


def _add(name: str, file: str, content: str | bytes, of: Sequence[Item], **more: Any) -> None:
    LAYOUTS.append(Layout(name, file, content, of, **more))


def lines(rows: Sequence[object]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def table(rows: Sequence[dict[str, Any]], separator: str = ",", end: str = "\n", head: bool = True) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=separator, lineterminator=end)
    if head:
        writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    return stream.getvalue()


def numbered(item: Item, stem: str, first: int = 1) -> dict[str, str]:
    return {f"{stem}{n}": choice for n, choice in enumerate(item.choices, start=first)}


def lettered(item: Item) -> dict[str, str]:
    return dict(zip("ABCDEF", item.choices, strict=False))


def none(item: Item) -> str:
    return ""


_Q, _P = items(), pairs()

# ---- labels that lie beside the choices, and what Excel writes
for _name, _yes, _no in (("scores", 1, 0), ("is_gold", True, False), ("gewichte", 1.0, 0.0)):
    _add(
        f"a list beside the choices: {_name}",
        "marked.jsonl",
        lines(
            [
                {
                    "context": i.passage,
                    "question": i.question,
                    "endings": i.choices,
                    _name: [_yes if k == i.label else _no for k in range(len(i.choices))],
                }
                for i in _Q
            ]
        ),
        _Q,
    )
_add(
    "a list of probabilities beside the choices",
    "soft.jsonl",
    lines(
        [
            {
                "context": i.passage,
                "question": i.question,
                "endings": i.choices,
                "votes": [0.61 if k == i.label else 0.13 for k in range(len(i.choices))],
            }
            for i in _Q
        ]
    ),
    _Q,
    refused="--map label=votes",
)
_add(
    "a line that names the separator (Excel)",
    "excel.csv",
    "sep=;\n"
    + table(
        [
            {"context": i.passage, "question": i.question, **numbered(i, "choice"), "label": i.label}
            for i in _Q
        ],
        ";",
    ),
    _Q,
)

# ---- as published sets are
_add(
    "SWAG",
    "train.csv",
    table(
        [
            {
                "": i.n,
                "video-id": f"anet_{i.n % 5}",
                "fold-ind": 3000 + i.n,
                "startphrase": f"{i.passage} Then",
                "sent1": i.passage,
                "sent2": "Then",
                "gold-source": "gold",
                **numbered(i, "ending", 0),
                "label": i.label,
            }
            for i in _Q
        ]
    ),
    _Q,
    context=lambda i: f"{i.passage} Then",
    question=none,
)
_add(
    "SWAG, two sentences",
    "swag.jsonl",
    lines(
        [{"sent1": i.passage, "sent2": i.question, **numbered(i, "ending", 0), "label": i.label} for i in _Q]
    ),
    _Q,
    context=lambda i: f"{i.passage} {i.question}",
    question=none,
)
_add(
    "HellaSwag",
    "val.jsonl",
    lines(
        [
            {
                "ind": i.n,
                "activity_label": "Carrying things",
                "ctx_a": i.passage,
                "ctx_b": "then",
                "ctx": f"{i.passage} then",
                "split": "val",
                "split_type": "indomain",
                "label": i.label,
                "endings": list(i.choices),
                "source_id": f"a~{i.n}",
            }
            for i in _Q
        ]
    ),
    _Q,
    context=lambda i: f"{i.passage} then",
    question=none,
)
_add(
    "HellaSwag of KoBEST",
    "kobest.tsv",
    table([{"context": i.passage, **numbered(i, "ending_"), "label": i.label} for i in _Q], "\t"),
    _Q,
    question=none,
)
_add(
    "Belebele",
    "test.jsonl",
    lines(
        [
            {
                "link": f"https://x.org/{i.n // 2}",
                "question_number": i.n % 2 + 1,
                "flores_passage": i.passage,
                "question": i.question,
                **numbered(i, "mc_answer"),
                "correct_answer_num": str(i.label + 1),
                "dialect": "eng_Latn",
                "ds": "2023-05-03",
            }
            for i in _Q
        ]
    ),
    _Q,
)
_add(
    "ARC",
    "arc.jsonl",
    lines(
        [
            {
                "id": f"Mercury_{i.n}",
                "question": {
                    "stem": i.question,
                    "choices": [{"text": c, "label": "ABCD"[k]} for k, c in enumerate(i.choices)],
                },
                "answerKey": "ABCD"[i.label],
            }
            for i in _Q
        ]
    ),
    _Q,
    context=none,
)
_add(
    "ARC, keys 1 to 4",
    "arc.jsonl",
    lines(
        [
            {
                "id": f"Mercury_{i.n}",
                "question": i.question,
                "choices": {"text": i.choices, "label": list("1234" if i.n % 3 else "ABCD")},
                "answerKey": ("1234" if i.n % 3 else "ABCD")[i.label],
            }
            for i in _Q
        ]
    ),
    _Q,
    context=none,
)
_add(
    "SciQ",
    "sciq.json",
    json.dumps(
        [
            {
                "question": i.question,
                **{f"distractor{k}": w for k, w in enumerate(i.wrong, 1)},
                "correct_answer": i.right,
                "support": i.passage,
            }
            for i in _Q
        ]
    ),
    _Q,
    shuffled=True,
)
_add(
    "OpenTriviaDB",
    "trivia.json",
    json.dumps(
        {
            "response_code": 0,
            "results": [
                {
                    "type": "multiple",
                    "difficulty": "easy",
                    "category": "Home",
                    "question": i.question,
                    "correct_answer": i.right,
                    "incorrect_answers": i.wrong,
                }
                for i in _Q
            ],
        }
    ),
    _Q,
    context=none,
    shuffled=True,
)
_add(
    "StoryCloze",
    "spring.csv",
    table(
        [
            {
                "InputStoryid": f"s-{i.n}",
                "InputSentence1": i.passage,
                "InputSentence2": "It rained.",
                "InputSentence3": "It was late.",
                "InputSentence4": "All slept.",
                **numbered(i, "RandomFifthSentenceQuiz"),
                "AnswerRightEnding": i.label + 1,
            }
            for i in _P
        ]
    ),
    _P,
    context=lambda i: f"{i.passage} It rained. It was late. All slept.",
    question=none,
)
_add(
    "endings of their own",
    "story.csv",
    table(
        [
            {
                "Sentence 1": i.passage,
                "Sentence 2": "It rained.",
                "Correct Ending": i.right,
                "Incorrect Ending": i.wrong[0],
            }
            for i in _P
        ]
    ),
    _P,
    context=lambda i: f"{i.passage} It rained.",
    question=none,
    shuffled=True,
)
_add(
    "RACE, nested",
    "race.json",
    json.dumps(
        [
            {
                "article": _Q[k].passage,
                "questions": [i.question for i in _Q[k : k + 3]],
                "options": [i.choices for i in _Q[k : k + 3]],
                "answers": ["ABCD"[i.label] for i in _Q[k : k + 3]],
                "id": f"high{k}.txt",
            }
            for k in range(0, 12, 3)
        ]
    ),
    _Q,
    context=lambda i: _Q[i.n // 3 * 3].passage,
)
_add(
    "RACE, one question a row",
    "race.jsonl",
    lines(
        [
            {
                "example_id": f"high{i.n // 3}.txt",
                "article": i.passage,
                "answer": "ABCD"[i.label],
                "question": i.question,
                "options": i.choices,
            }
            for i in _Q
        ]
    ),
    _Q,
)
_add(
    "QuAIL",
    "quail.jsonl",
    lines(
        [
            {
                "id": f"f{i.n}_1",
                "context_id": f"f{i.n}",
                "question_id": "1",
                "domain": "fiction",
                "context": i.passage,
                "question": i.question,
                "question_type": "Factual",
                "answers": i.choices,
                "correct_answer_id": i.label,
            }
            for i in _Q
        ]
    ),
    _Q,
)
_add(
    "Cosmos",
    "cosmos.csv",
    table(
        [
            {
                "id": f"3Q9{i.n}",
                "context": i.passage,
                "question": i.question,
                **numbered(i, "answer", 0),
                "label": i.label,
            }
            for i in _Q
        ]
    ),
    _Q,
)
_add(
    "DREAM, as published",
    "dream.json",
    json.dumps(
        [
            [
                [f"W: {_Q[k].passage}", "M: I see."],
                [{"question": i.question, "choice": i.choices, "answer": i.right} for i in _Q[k : k + 2]],
                f"4-{k}",
            ]
            for k in range(0, 12, 2)
        ]
    ),
    _Q,
    context=lambda i: f"W: {_Q[i.n // 2 * 2].passage} M: I see.",
)
_add(
    "DREAM, one question a row",
    "dream.jsonl",
    lines(
        [
            {
                "id": i.n,
                "dialogue_id": f"5-{i.n}",
                "dialogue": [f"W: {i.passage}", "M: I see."],
                "question": i.question,
                "choice": i.choices,
                "answer": i.right,
            }
            for i in _Q
        ]
    ),
    _Q,
    context=lambda i: f"W: {i.passage} M: I see.",
)
_add(
    "PIQA",
    "piqa.jsonl",
    lines([{"goal": i.passage, "sol1": i.choices[0], "sol2": i.choices[1]} for i in _P]),
    _P,
    question=none,
    labelled=False,
)
_add(
    "MCTest, nested",
    "mctest.json",
    json.dumps(
        {
            "data": [
                {
                    "title": f"mc.{k}",
                    "paragraphs": [
                        {
                            "story": _Q[k].passage,
                            "qas": [
                                {"question": i.question, "choices": i.choices, "answer": "ABCD"[i.label]}
                                for i in _Q[k : k + 4]
                            ],
                        }
                    ],
                }
                for k in range(0, 12, 4)
            ]
        }
    ),
    _Q,
    context=lambda i: _Q[i.n // 4 * 4].passage,
)
_add(
    "XCOPA",
    "test.sw.jsonl",
    lines(
        [
            {
                "premise": i.passage,
                "choice1": i.choices[0],
                "choice2": i.choices[1],
                "question": ("cause", "effect")[i.n % 2],
                "label": i.label,
                "idx": i.n,
                "changed": i.n % 3 == 0,
            }
            for i in _P
        ]
    ),
    _P,
    question=lambda i: ("cause", "effect")[i.n % 2],
)
_add(
    "COPA of KoBEST",
    "copa.jsonl",
    lines(
        [
            {
                "premise": i.passage,
                "question": ("원인", "결과")[i.n % 2],
                "alternative_1": i.choices[0],
                "alternative_2": i.choices[1],
                "label": i.label,
            }
            for i in _P
        ]
    ),
    _P,
    question=lambda i: ("cause", "effect")[i.n % 2],
)
_add(
    "JCommonsenseQA",
    "jcqa.jsonl",
    lines([{"q_id": i.n, "question": i.question, **numbered(i, "choice", 0), "label": i.label} for i in _Q]),
    _Q,
    context=none,
)
_add(
    "MMLU",
    "mmlu_test.csv",
    table([{"q": i.question, **lettered(i), "a": "ABCD"[i.label]} for i in _Q], head=False),
    _Q,
    context=none,
    options=("--columns", "question,A,B,C,D,answer"),
)
_add(
    "MMLU without a word",
    "mmlu_test.csv",
    table([{"q": i.question, **lettered(i), "a": "ABCD"[i.label]} for i in _Q], head=False),
    _Q,
    context=none,
    refused="--columns question,choice1,choice2,choice3,choice4,label",
)
_add(
    "TruthfulQA",
    "truthful.jsonl",
    lines(
        [
            {"question": i.question, "choices": i.choices, "labels": [int(k == i.label) for k in range(4)]}
            for i in _Q
        ]
    ),
    _Q,
    context=none,
)
_add(
    "XNLI-like hub viewer",
    "rows.json",
    json.dumps(
        {
            "features": [{"name": "premise"}],
            "rows": [
                {
                    "row_idx": i.n,
                    "row": {
                        "premise": i.passage,
                        "choice1": i.choices[0],
                        "choice2": i.choices[1],
                        "label": i.label,
                    },
                }
                for i in _P
            ],
            "num_rows_total": 12,
        }
    ),
    _P,
    question=none,
)

_add(
    "TruthfulQA, as published",
    "mc_task.json",
    json.dumps(
        [
            {
                "question": i.question,
                "mc1_targets": {choice: int(choice == i.right) for choice in [i.right, *i.wrong]},
                "mc2_targets": {choice: int(choice != i.wrong[0]) for choice in [i.right, *i.wrong]},
            }
            for i in _Q
        ]
    ),
    _Q,
    context=none,
    shuffled=True,
)

# ---- passages
for _name in (
    "reading_passage",
    "flores_passage",
    "article",
    "context_text",
    "Passage Text",
    "pasaje",
    "texto",
    "Lesetext",
    "отрывок",
    "النص",
    "文章",
    "지문",
    "odlomak",
    "kifungu",
    "paragraphe",
    "support",
    "story_text",
):
    _add(
        f"passage: {_name}",
        "q.jsonl",
        lines(
            [
                {_name: i.passage, "question": i.question, "choices": i.choices, "answer": "ABCD"[i.label]}
                for i in _Q
            ]
        ),
        _Q,
    )
_add(
    "a passage of an unknown name",
    "q.jsonl",
    lines(
        [
            {"zumbra": i.passage, "question": i.question, "choices": i.choices, "answer": "ABCD"[i.label]}
            for i in _Q
        ]
    ),
    _Q,
    context=none,
    told=("warning", "'zumbra'", "--map premise=zumbra"),
)
_add(
    "an explanation",
    "q.jsonl",
    lines(
        [
            {
                "question": i.question,
                "choices": i.choices,
                "answer": "ABCD"[i.label],
                "explanation": i.passage,
            }
            for i in _Q
        ]
    ),
    _Q,
    context=none,
    told=("warning", "'explanation'"),
)
_add(
    "the passage in parts",
    "q.jsonl",
    lines(
        [
            {
                "context": [i.passage, "It was late."],
                "question": i.question,
                "choices": i.choices,
                "answer": "ABCD"[i.label],
            }
            for i in _Q
        ]
    ),
    _Q,
    context=lambda i: f"{i.passage} It was late.",
)

# ---- labels inside the choices
for _flag, _yes, _no in (
    ("correct", True, False),
    ("is_correct", "true", "false"),
    ("isCorrect", 1, 0),
    ("score", 1.0, 0.0),
    ("isAnswer", "yes", "no"),
    ("label", True, False),
):
    _add(
        f"choices with {_flag}: {_yes}",
        "q.json",
        json.dumps(
            [
                {
                    "question": i.question,
                    "choices": [
                        {"text": c, _flag: _yes if k == i.label else _no} for k, c in enumerate(i.choices)
                    ],
                }
                for i in _Q
            ]
        ),
        _Q,
        context=none,
    )
_add(
    "choices with their number",
    "q.jsonl",
    lines(
        [
            {
                "question": i.question,
                "choices": [f"{k}. {c}" for k, c in enumerate(i.choices, 1)],
                "answer": i.label + 1,
            }
            for i in _Q
        ]
    ),
    _Q,
    context=none,
)
_add(
    "choices with their letter",
    "q.jsonl",
    lines(
        [
            {
                "question": i.question,
                "choices": [f"{'ABCD'[k]}) {c}" for k, c in enumerate(i.choices)],
                "answer": "ABCD"[i.label],
            }
            for i in _Q
        ]
    ),
    _Q,
    context=none,
)
_add(
    "lettered choices, the label with its letter",
    "q.csv",
    table(
        [
            {
                "question": i.question,
                **{f"option{k + 1}": f"({'abcd'[k]}) {c}" for k, c in enumerate(i.choices)},
                "answer": f"({'abcd'[i.label]}) {i.right}",
            }
            for i in _Q
        ]
    ),
    _Q,
    context=none,
)
_add(
    "lettered choices, the label without",
    "q.csv",
    table(
        [
            {
                "question": i.question,
                **{f"option{k + 1}": f"{'ABCD'[k]}: {c}" for k, c in enumerate(i.choices)},
                "answer": i.right,
            }
            for i in _Q
        ]
    ),
    _Q,
    context=none,
)
_add(
    "one cell with numbered choices",
    "q.csv",
    table(
        [
            {
                "question": i.question,
                "options": "\n".join(f"{k}) {c}" for k, c in enumerate(i.choices, 1)),
                "answer": i.label + 1,
            }
            for i in _Q
        ]
    ),
    _Q,
    context=none,
)

# ---- spellings of labels
for _name, _spell in {
    "1.0": lambda i: f"{i.label}.0",
    "True": lambda i: str(bool(i.label)),
    "true": lambda i: str(bool(i.label)).lower(),
    "choice2": lambda i: f"choice{i.label + 1}",
    "option A": lambda i: f"option {'AB'[i.label]}",
    "B.": lambda i: f"{'AB'[i.label]}.",
    "(b)": lambda i: f"({'ab'[i.label]})",
    " a)": lambda i: f" {'ab'[i.label]})",
    "mixed case": lambda i: ("Aa", "Bb")[i.label][i.n % 2],
    "Option_2": lambda i: f"Option_{i.label + 1}",
    "2)": lambda i: f"{i.label + 1})",
    "#2": lambda i: f"#{i.label + 1}",
    "Cyrillic": lambda i: "АБ"[i.label],
    "Answer: B": lambda i: f"Answer: {'AB'[i.label]}",
    "text in another case": lambda i: f" {i.right.upper()} ",
    "[1]": lambda i: f"[{i.label + 1}]",
}.items():
    _add(
        f"labels like {_name}",
        "q.csv",
        table(
            [
                {"premise": i.passage, "choice1": i.choices[0], "choice2": i.choices[1], "label": _spell(i)}
                for i in _P
            ]
        ),
        _P,
        question=none,
    )
_add(
    "labels as JSON floats",
    "q.jsonl",
    lines(
        [
            {"premise": i.passage, "choice1": i.choices[0], "choice2": i.choices[1], "label": float(i.label)}
            for i in _P
        ]
    ),
    _P,
    question=none,
)
_add(
    "labels as JSON truth values",
    "q.jsonl",
    lines(
        [
            {"premise": i.passage, "choice1": i.choices[0], "choice2": i.choices[1], "label": bool(i.label)}
            for i in _P
        ]
    ),
    _P,
    question=none,
)
_add(
    "labels as names of columns",
    "q.csv",
    table(
        [
            {
                "premise": i.passage,
                "left": i.choices[0],
                "right": i.choices[1],
                "label": ("left", "right")[i.label],
            }
            for i in _P
        ]
    ),
    _P,
    question=none,
    options=("--map", "choices=left,right"),
)
_add(
    "labels in lists of one",
    "q.jsonl",
    lines([{"question": i.question, "choices": i.choices, "answer": ["ABCD"[i.label]]} for i in _Q]),
    _Q,
    context=none,
)
_add(
    "label of an unknown name",
    "q.csv",
    table(
        [
            {"premise": i.passage, "choice1": i.choices[0], "choice2": i.choices[1], "wahr": f"{i.label}"}
            for i in _P
        ]
    ),
    _P,
    question=none,
    refused="--map label=wahr",
)

# ---- formats
_rows = [
    {"premise": i.passage, "choice1": i.choices[0], "choice2": i.choices[1], "label": i.label} for i in _P
]
_add("pipes", "q.txt", table(_rows, "|"), _P, question=none)
_markdown = [f"| {' | '.join(map(str, row.values()))} |" for row in _rows]
_add(
    "a Markdown table",
    "q.md",
    "\n".join([f"| {' | '.join(_rows[0])} |", "|---|:---|---|--:|", *_markdown, ""]),
    _P,
    question=none,
)
_add(
    "semicolons, CRLF, a mark (Excel)",
    "q.csv",
    ("\ufeff" + table(_rows, ";", "\r\n")).encode(),
    _P,
    question=none,
)
_add(
    "UTF-16 (Excel)",
    "q.txt",
    table(_rows, "\t", "\r\n").encode("utf-16"),
    _P,
    question=none,
    refused="UTF-16",
)
_add(
    "cp1252 (Excel)",
    "q.csv",
    table(_rows, ";", "\r\n").replace("Asha", "Dvořák".encode("cp1250").decode("latin1")).encode("latin1"),
    _P,
    question=none,
    refused="UTF-8",
)
_add(
    "one object with splits",
    "all.json",
    json.dumps({"train": _rows[:8], "validation": _rows[8:10], "test": _rows[10:]}),
    _P,
    question=none,
)
_add(
    "one object with splits of columns",
    "all.json",
    json.dumps({"train": {k: [r[k] for r in _rows] for k in _rows[0]}}),
    _P,
    question=none,
)
_add("JSON of columns", "q.json", json.dumps({k: [r[k] for r in _rows] for k in _rows[0]}), _P, question=none)
_add(
    "JSON of columns, as pandas writes it",
    "q.json",
    json.dumps({k: {str(n): r[k] for n, r in enumerate(_rows)} for k in _rows[0]}),
    _P,
    question=none,
)
_add(
    "JSON of columns with lists",
    "q.json",
    json.dumps(
        {
            "question": [i.question for i in _Q],
            "choices": [i.choices for i in _Q],
            "answer": ["ABCD"[i.label] for i in _Q],
        }
    ),
    _Q,
    context=none,
)
_add("JSON by id", "q.json", json.dumps({f"q{n}": r for n, r in enumerate(_rows)}), _P, question=none)
_add(
    "list of lists",
    "q.json",
    json.dumps([list(_rows[0]), *(list(r.values()) for r in _rows)]),
    _P,
    question=none,
)
_add(
    "list of lists without a head",
    "q.json",
    json.dumps([list(r.values()) for r in _rows]),
    _P,
    question=none,
    options=("--columns", "premise,choice1,choice2,label"),
)
_add(
    "lists, one a line",
    "q.jsonl",
    lines([list(r.values()) for r in _rows]),
    _P,
    question=none,
    options=("--columns", "premise,choice1,choice2,label"),
)
_add(
    "list of lists without a word",
    "q.json",
    json.dumps([list(r.values()) for r in _rows]),
    _P,
    question=none,
    refused="--columns premise,choice1,choice2,label",
)
_add(
    "no head line",
    "q.csv",
    table(_rows, head=False),
    _P,
    question=none,
    options=("--columns", "premise,choice1,choice2,label"),
)
_add(
    "no head line, without a word",
    "q.csv",
    table(_rows, head=False),
    _P,
    question=none,
    refused="--columns premise,choice1,choice2,label",
)
_add(
    "no head line, a row that occurs again",
    "q.csv",
    table([*_rows, _rows[0]], head=False),
    [*_P, _P[0]],
    question=none,
    refused="--columns premise,choice1,choice2,label",
)
_add(
    "no head line, two equal cells in the first",
    "q.csv",
    table([{**row, "choice2": row["choice1"]} if n == 0 else row for n, row in enumerate(_rows)], head=False),
    [],
    refused="--columns premise,choice1,choice2,label",
)
_add(
    "no head line, tabs",
    "q.tsv",
    table(_rows, "\t", head=False),
    _P,
    question=none,
    options=("--columns", "premise,choice1,choice2,label"),
)
_add(
    "pandas, split",
    "q.json",
    json.dumps(
        {"columns": list(_rows[0]), "index": list(range(12)), "data": [list(r.values()) for r in _rows]}
    ),
    _P,
    question=none,
)
_add(
    "several questions under one passage",
    "q.jsonl",
    lines(
        [
            {
                "passage": _Q[k].passage,
                "questions": [
                    {"question": i.question, "options": i.choices, "answer": "ABCD"[i.label]}
                    for i in _Q[k : k + 3]
                ],
            }
            for k in range(0, 12, 3)
        ]
    ),
    _Q,
    context=lambda i: _Q[i.n // 3 * 3].passage,
)
_add(
    "questions with marked answers under one paragraph",
    "q.json",
    json.dumps(
        {
            "data": [
                {
                    "id": f"p{k}",
                    "paragraph": {
                        "text": _Q[k].passage,
                        "questions": [
                            {
                                "question": i.question,
                                "answers": [{"text": c, "isAnswer": c == i.right} for c in i.choices],
                            }
                            for i in _Q[k : k + 3]
                        ],
                    },
                }
                for k in range(0, 12, 3)
            ]
        }
    ),
    _Q,
    context=lambda i: _Q[i.n // 3 * 3].passage,
)

# ---- right and wrong answers in fields of their own
_add(
    "right and wrong, in columns",
    "q.csv",
    table(
        [
            {
                "Question": i.question,
                "Correct Answer": i.right,
                "Incorrect Answer 1": i.wrong[0],
                "Incorrect Answer 2": i.wrong[1],
                "Incorrect Answer 3": i.wrong[2],
            }
            for i in _Q
        ]
    ),
    _Q,
    context=none,
    shuffled=True,
)
_add(
    "answer and distractors",
    "q.jsonl",
    lines([{"question": i.question, "answer": i.right, "distractors": i.wrong} for i in _Q]),
    _Q,
    context=none,
    shuffled=True,
)
_add(
    "richtig und falsch",
    "q.csv",
    table(
        [
            {
                "Frage": i.question,
                "richtige Antwort": i.right,
                "falsche Antwort 1": i.wrong[0],
                "falsche Antwort 2": i.wrong[1],
            }
            for i in items(choices=3)
        ],
        ";",
    ),
    items(choices=3),
    context=none,
    shuffled=True,
)
_add(
    "richtig und falsch in Worten ohne Zahl",
    "q.csv",
    table(
        [
            {"pregunta": i.question, "respuesta correcta": i.right, "respuesta incorrecta": i.wrong[0]}
            for i in _P
        ]
    ),
    _P,
    context=none,
    shuffled=True,
)

# ---- one odd cell
_many = pairs(60)


def _odd(value: str, spell: Callable[[Item], str]) -> str:
    rows = [
        {"premise": i.passage, "choice1": i.choices[0], "choice2": i.choices[1], "label": spell(i)}
        for i in _many
    ]
    rows[36]["label"] = value
    return table(rows)


_kept = [i for i in _many if i.n != 36]
for _name, _value, _spell in (
    ("of indices", "x", lambda i: f"{i.label}"),
    ("of letters", "AB", lambda i: "AB"[i.label]),
    ("of indices from 1", "3", lambda i: f"{i.label + 1}"),
    ("of texts", "nowhere", lambda i: i.right),
    ("that is a zero", "0", lambda i: f"{i.label + 1}"),
    ("that is a letter", "b", lambda i: f"{i.label}"),
):
    _add(f"an odd label {_name}", "q.csv", _odd(_value, _spell), _many, question=none, refused=f"'{_value}'")
    _add(
        f"an odd label {_name}, left out",
        "q.csv",
        _odd(_value, _spell),
        _kept,
        question=none,
        options=("--skip-bad",),
    )


# ---- languages
def _languages(column: str, mine: object, *others: object) -> str:
    rows = []
    for k, value in enumerate((mine, *others)):
        rows += [
            {
                "premise": i.passage if k == 0 else f"Elsewhere. {i.passage}",
                column: value,
                "choice1": i.choices[0],
                "choice2": i.choices[1],
                "label": i.label,
            }
            for i in _P
        ]
    return lines(rows)


for _column, *_values in (
    ("language", "Croatian", "Serbian"),
    ("language", "hrvatski", "srpski", "English"),
    ("Language", "hrvatski jezik", "makedonski"),
    ("lang", "hrv_Latn", "mkd_Cyrl"),
    ("dialect", "hrv_Latn", "slv_Latn"),
    ("jezik", "hrvatski", "makedonski"),
    ("lang_id", "hr", "mk"),
    ("variety", "hrv_Latn", "srp_Cyrl"),
    ("language_name", "Kroatisch", "Serbisch"),
    ("meta_language", "CROATIAN", "Macedonian"),
    ("langue", "croate", "anglais"),
):
    _add(
        f"{_column}: {_values}",
        "q.jsonl",
        _languages(_column, *_values),
        _P,
        question=none,
        language="hr",
        told=(f"{_column} = {_values[0]}",),
    )
_add(
    "dialects nobody knows",
    "q.jsonl",
    _languages("dialect", "Cerkno", "standard"),
    _P,
    question=none,
    language="hr",
    refused="--where dialect=Cerkno",
)
_add(
    "dialects, one chosen",
    "q.jsonl",
    _languages("dialect", "Cerkno", "standard"),
    _P,
    question=none,
    language="hr",
    options=("--where", "dialect=Cerkno"),
)
_add(
    "numbers of languages",
    "q.jsonl",
    _languages("lang_id", 3, 4),
    _P,
    question=none,
    language="hr",
    refused="--where lang_id=3",
)
_add(
    "two spellings of a language",
    "q.jsonl",
    lines(
        [
            {
                "premise": i.passage,
                "language": ("Croatian", "hrvatski")[i.n % 2],
                "choice1": i.choices[0],
                "choice2": i.choices[1],
                "label": i.label,
            }
            for i in _P
        ]
    ),
    _P,
    language="hr",
    question=none,
)
