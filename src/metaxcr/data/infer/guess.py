"""What the fields of a file mean, told from their names and confirmed by their values."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from metaxcr.data.cell_values import is_missing, spelt_index
from metaxcr.data.infer import column_names as known_names
from metaxcr.data.infer.column_names import (
    CONTEXT,
    CONTEXT_STEMS,
    ID,
    NO_PASSAGE,
    PASSAGE,
    QUESTION,
    direction,
    groups,
    known,
    plain,
    words_of,
)
from metaxcr.data.infer.guess_choices import Undecided, fields_of, find_choices, find_label
from metaxcr.data.infer.table import (
    ColumnHints,
    NotUnderstood,
    Table,
    is_blank,
    only_language,
    value_at,
    warnings_of,
)
from metaxcr.data.languages import Tag
from metaxcr.data.readers import choices_of
from metaxcr.data.rows import Defect, Row
from metaxcr.data.spec import Fields
from metaxcr.data.unfold import find_steps, unfold_rows
from metaxcr.errors import UserError

_UNIQUE = 0.99  # share of different values that makes a field an id
_MANY = 50  # rows from which a few repeated ids may be mistakes
_SAMPLE = 200  # rows that proposals are tried on
_WEAK = ("query", "prompt")  # may be a question or a context: the question marks tell
_ONLY_WORDS = ("task", "type", "relation", "questiontype")  # a question only if it is cause or effect
_MARKS = ("?", "？", "؟", "՞")
_FEW = 6  # rows from which two different questions are words for cause and effect, not questions


@dataclass(frozen=True)
class Guess:
    """What a file holds.

    Attributes:
        fields: As :class:`metaxcr.data.spec.Fields` declares it.
        relation, phrasing, labelled: As :class:`metaxcr.data.spec.TaskSpec` and its splits declare it.
        repairs: Declared repairs that the file needs.
        codes: Language -> how the file spells it.
        why: Role -> what was found, in words.
        unused: Fields that mean nothing here.
        warnings: What the user should look at.
        elsewhere: Number of rows that are in other languages.
    """

    fields: dict[str, Any]
    relation: str
    phrasing: dict[str, str]
    labelled: bool
    repairs: list[dict[str, Any]]
    codes: dict[str, str]
    why: dict[str, str]
    unused: list[str]
    warnings: list[str] = field(default_factory=list)
    elsewhere: int = 0


def guess(
    rows: Sequence[tuple[int, Row | Defect]],
    language: Tag,
    asked: ColumnHints,
    path: Path,
    part: str | None = None,
) -> Guess:
    """Tell what the fields of a file mean.

    Args:
        rows: All rows, from :func:`metaxcr.data.infer.user_files.read_rows`.
        language: Of the texts.
        asked: What the user said about it.
        path: The file, for messages.
        part: The field of the file's one object that holds the rows.

    Returns:
        What it holds.

    Raises:
        UserError: Something cannot be told; the message names the fields that are there and what to say.
    """
    held, steps = _unfolded(rows, part, asked)
    good = [(line, row) for line, row in held if not isinstance(row, Defect)]
    if len(good) < len(held) and (headless := _proposed_columns(Table(good, [*names_of(held)], asked, path))):
        raise UserError("the first line names no columns", f"{path}:1", f"say --columns {headless}")
    table = Table(_readable(held, asked, path), list(names_of(held)), asked, path)
    if steps:
        table.fields["unfold"] = steps
        table.why["rows"] = "inside " + ", ".join("+".join(step) for step in steps)[:100]
    try:
        return _guessed(table, language)
    except NotUnderstood as error:
        headless = _proposed_columns(table)
        if headless is not None:
            fix = f"if the file has no head line, say --columns {headless}"
            raise UserError(f"{error.what.partition('; the fields are')[0]}", f"{path}:1", fix) from error
        words = _proposed(table, language)
        if words is None and any(name.count(" ") > 3 for name in table.names):  # these are texts
            head = "the first line must name the columns: premise, choice1, choice2, label or the like"
            raise UserError(error.what.partition("; the fields are")[0], f"{path}:1", head) from error
        if words is None:
            raise
        raise UserError(error.what, error.where, f"say {words}") from error


def _guessed(table: Table, language: Tag) -> Guess:
    asked = table.asked
    for role in ("premise", "question", "choices", "label", "id", "language", "ignore"):
        for name in asked.roles.get(role, []):
            if not any(name == there or there.startswith(f"{name}.") for there in table.names):
                raise UserError(*_missing(table, role, name))
    before = len(table.rows)
    codes = only_language(table, language)
    elsewhere = before - len(table.rows)
    repairs = _choices(table)
    question, context = find_texts(table)
    relation, phrasing = put_into_words(table, question, context)
    labelled = find_label(table)
    repairs += table.repairs + _id(table)
    warnings = warnings_of(table)
    return Guess(
        table.fields, relation, phrasing, labelled, repairs, codes, table.why, table.left, warnings, elsewhere
    )


def _missing(table: Table, role: str, name: str) -> tuple[str, str, str]:
    there = ", ".join(f"'{known}'" for known in table.names)
    return (
        f"there is no field '{name}'; the fields are {there}",
        str(table.path),
        f"say --map {role}=FIELD with one of them",
    )


def names_of(rows: Sequence[tuple[int, Row | Defect]]) -> dict[str, None]:
    """List the fields of all rows, in the order of their first occurrence; those of objects are dotted.

    Args:
        rows: (line, row or what is wrong with it).

    Returns:
        The names, as keys.
    """
    names: dict[str, None] = {}

    def add(row: Row, prefix: str, depth: int) -> None:
        for name, value in row.items():
            if isinstance(value, dict) and depth < 3 and value:
                add(value, f"{prefix}{name}.", depth + 1)
            else:
                names[f"{prefix}{name}"] = None

    for _, row in rows:
        if not isinstance(row, Defect):
            add(row, "", 1)
    return names


def _unfolded(
    rows: Sequence[tuple[int, Row | Defect]], part: str | None, asked: ColumnHints
) -> tuple[list[tuple[int, Row | Defect]], list[list[str]]]:
    """Take rows that hold rows apart, if they do."""
    outer = list(unfold_rows(rows, [], part, asked.columns or None))
    sample = [row for _, row in outer[:_SAMPLE] if not isinstance(row, Defect)]
    steps = find_steps(sample, _is_question, _are_whole)
    return (list(unfold_rows(rows, steps, part, asked.columns or None)) if steps else outer), steps


def _is_question(row: Row) -> bool:
    """Tell whether an object has choices."""
    return find_choices(list(names_of([(1, row)])), [row]) is not None


def _are_whole(rows: Sequence[Row]) -> bool:
    """Tell whether rows have a question and choices already."""
    names = list(names_of([(1, row) for row in rows]))
    questions = [
        name
        for name in known(QUESTION, names)
        if sum(isinstance(value_at(row, name), str) for row in rows) >= 0.9 * len(rows)
    ]
    return bool(questions) and find_choices(names, rows) is not None


def _readable(
    rows: Sequence[tuple[int, Row | Defect]], asked: ColumnHints, path: Path
) -> list[tuple[int, Row]]:
    """Return the rows that could be read; the first that could not is an error, or left out."""
    good = [(line, row) for line, row in rows if not isinstance(row, Defect)]
    for line, row in rows:
        if isinstance(row, Defect) and not (asked.skip_bad and good):
            more = ", or leave such rows out with --skip-bad" if good else ""
            raise UserError(row.what, f"{path}:{line}", f"{row.fix}{more}")
    if not good:
        raise UserError("the file holds no rows", str(path), "name the data file")
    return good


def _choices(table: Table) -> list[dict[str, Any]]:
    """Find the choices; return the repair that a few rows with more of them than all others need."""
    taken = {
        name for role in ("premise", "question", "label", "id") for name in table.asked.roles.get(role, [])
    }
    names = [name for name in table.left if name not in taken]
    found = find_choices(names, [row for _, row in table.rows], table.asked.roles.get("choices", []))
    if found is None:
        raise table.error("no fields hold the choices", "--map choices=FIELD,FIELD or --map choices=FIELD")
    table.fields.update(found)
    table.take(*fields_of(found, table.left))
    listed = found["choices"]
    table.why["choices"] = listed if isinstance(listed, str) else ", ".join(listed)
    counts: Counter[int] = Counter()
    for _, row in table.rows:
        try:
            counts[len(choices_of(row, Fields.model_validate(table.fields)))] += 1
        except Defect:  # the reader names the row
            continue
    if not counts:
        return []
    usual, times = counts.most_common(1)[0]
    odd = counts.total() - times
    few = max(counts) > usual == min(counts) and times >= 10 and odd <= max(1, 0.01 * counts.total())
    return [{"step": "choices", "n": usual}] if few or "choices" in table.asked.repairs else []


def _id(table: Table) -> list[dict[str, Any]]:
    """Find a field that tells the rows apart, otherwise their line does; return the repair that it needs."""
    asked = table.asked.roles.get("id", [])
    for name in asked or known(known_names.ID, table.left):
        values = table.values(name)
        different, n = len(set(map(str, values))), len(values)
        enough = different == n or (n > _MANY and different >= _UNIQUE * n)
        wanted = bool(asked) or "repeated-ids" in table.asked.repairs
        if any(is_blank(value) for value in values) or set(name) & set(".[]{}!:") or not (enough or wanted):
            if asked:
                raise UserError(
                    f"'{name}' cannot be an id", str(table.path), "it is nested, or blank in a row"
                )
            continue
        digits = all(str(value).strip().isdecimal() for value in values)
        table.fields["id"] = f"{{split}}-{{{name}}}" if digits else f"{{{name}}}"
        table.take(name)
        table.why["id"] = name + (f" ({n - different} rows repeat one)" if different < n else "")
        return [{"step": "repeated-ids"}] if different < n else []
    by_line = len({line for line, _ in table.rows}) == len(table.rows)
    table.fields["id"] = "{split}-{line}" if by_line else "{split}-{position}"
    table.why["id"] = "the number of the line" if by_line else "the number of the row"
    return []


# ---- context and question


def find_texts(table: Table) -> tuple[str | None, list[str]]:
    """Find question and context.

    Args:
        table: The file; the choices are known.

    Returns:
        The field of the question or None, and the fields of the context, perhaps none.

    Raises:
        UserError: There is neither, and some field may well be the context.
    """
    asked = table.asked.roles
    context = list(asked.get("premise", []))
    question = next(iter(asked.get("question", [])), None)
    table.take(*context, *([question] if question else []))
    if question is None:
        question = _question(table, has_context=bool(context))
        table.take(*([question] if question else []))
    if not context:
        context = _context(table)
    if question is None and len(context) == 1 and "premise" not in asked and _asks(table, context[0], 0.8):
        question, context = context[0], []
    elif not any(not is_blank(value) for name in context for value in table.values(name)):
        context = []
    table.take(*context, *([question] if question else []))
    nothing = not context and question is None and table.asked.relation != "none"
    if nothing and any(_is_text(table, name) for name in table.left):
        raise table.error("no field is known to be the context", "--relation none, or --map premise=FIELD")
    return question, context


def put_into_words(table: Table, question: str | None, context: list[str]) -> tuple[str, dict[str, str]]:
    """Tell the direction between context and choices, and how the two are put into words.

    Args:
        table: The file; question and context are written into its fields.
        question: The field, or None.
        context: The fields.

    Returns:
        Relation and phrasing as a task declares them.

    Raises:
        UserError: Two words stand for cause and effect, and which is which is not known.
    """
    if context:
        table.fields["context"] = context[0] if len(context) == 1 else context
        table.why["context"] = ", ".join(context)
    if question is None:
        kind, phrasing = _without_question(table, context)
    else:
        table.fields["question"] = question
        kind, phrasing = _with_question(table, question, context)
    if table.asked.relation == "question" and kind != "question":
        raise table.error(
            "relation 'question' needs a question that is cause or effect", "--map question=FIELD"
        )
    return table.asked.relation or kind, phrasing


def _with_question(table: Table, question: str, context: list[str]) -> tuple[str, dict[str, str]]:
    words = question_words(table, question)
    if words is None:
        table.why["question"] = f"{question}, in words"
        if any(is_blank(value) for name in context for value in table.values(name)):
            table.fields["blank_context"] = True
        return "answer", {"context": "{context} {question}" if context else "{question}"}
    if not context:
        raise table.error(f"'{question}' asks for cause or effect, but of what?", "--map premise=FIELD")
    table.why["question"] = f"{question}, cause or effect"
    if words:
        table.fields["question_words"] = words
        spelt = (f"{'/'.join(found)} = {kind}" for kind, found in words.items())
        table.why["question"] += f" ({', '.join(spelt)})"
    return "question", {}


def _without_question(table: Table, context: list[str]) -> tuple[str, dict[str, str]]:
    if not context:
        return "none", {}
    if len(context) == 1 and all(str(value).count("_") == 1 for value in table.values(context[0])):
        table.why["context"] += ", with a blank _"
        return "effect", {"blank": "_", "context": "{before}", "choice": "{choice}{after}"}
    # as in PIQA: the solution leads to the goal
    return ("cause" if plain(context[0]) == "goal" else "effect"), {}


def question_words(table: Table, name: str) -> dict[str, list[str]] | None:
    """Tell how a field spells cause and effect.

    Args:
        table: The file.
        name: The field of the question.

    Returns:
        Kind -> words; empty where they are plain ``cause`` and ``effect``. None: its questions are in words.

    Raises:
        UserError: They are words for cause and effect that are not known.
    """
    counts = Counter(value.strip() for value in table.texts(name))
    roles = table.asked.roles
    given = {word.casefold(): kind for kind in ("cause", "effect") for word in roles.get(kind, [])}
    kinds = {value: given.get(value.casefold()) or direction(value) for value in counts}
    unknown = sorted(value for value, kind in kinds.items() if kind is None)
    if unknown and not given and table.asked.relation != "question" and _in_words(counts, unknown):
        return None
    rare = sum(counts[value] for value in unknown) <= 0.02 * counts.total()
    if unknown and not (table.asked.skip_bad and rare):
        spelt = " and ".join(repr(value[:40]) for value in unknown[:3])
        what = f"'{name}' is {spelt}, but what asks for the cause and what for the effect is not known"
        raise UserError(what, str(table.path), "say --map cause=WORD --map effect=WORD")
    if set(counts) <= {"cause", "effect", *unknown}:
        return {}
    found = {kind: sorted(v for v, k in kinds.items() if k == kind) for kind in ("cause", "effect")}
    return {kind: words for kind, words in found.items() if words}


def _in_words(counts: Counter[str], unknown: list[str]) -> bool:
    """Tell questions in words from words for cause and effect that nobody knows."""
    strange = sum(counts[value] for value in unknown)
    if strange < 0.5 * counts.total() and len(counts) < 20:
        return False  # most are cause or effect: the others are mistakes
    short = all(len(value.split()) < 3 and not value.endswith(_MARKS) for value in counts)
    return len(counts) != 2 or not (short or counts.total() >= _FEW)


def _question(table: Table, *, has_context: bool) -> str | None:
    for name in known(QUESTION, table.left):
        texts = table.texts(name)
        if len(texts) < 0.9 * len(table.rows):
            continue
        if plain(name) in _ONLY_WORDS and not all(map(direction, texts)):
            continue
        rivals = has_context or [other for other in known(CONTEXT, table.left) if other != name]
        if plain(name) in _WEAK and not (rivals or _asks(table, name, 0.5)):
            continue
        return name
    return None


def _context(table: Table) -> list[str]:
    for name in known(CONTEXT, table.left):
        values = table.values(name)
        if all(value is None or isinstance(value, str) or _is_parts(value) for value in values):
            return [name]
    numbered = {stem: members for stem, members in groups(table.left).items() if table.texts(members[0])}
    for stem in CONTEXT_STEMS:
        if stem in numbered:
            return numbered[stem]
    for name in table.left:  # reading_passage, news article, ...
        words = set(words_of(name))
        if words & PASSAGE and not words & NO_PASSAGE and _is_text(table, name, 0.0):
            return [name]
    return []


def _is_parts(value: object) -> bool:
    """Tell whether a value is a text in parts: the turns of a dialogue, the sentences of a passage."""
    return isinstance(value, list) and bool(value) and all(isinstance(part, str) for part in value)


def _asks(table: Table, name: str, share: float) -> bool:
    """Tell whether the texts of a field are questions, by their marks."""
    texts = table.texts(name)
    return bool(texts) and sum(t.rstrip(" \"'»”」)").endswith(_MARKS) for t in texts) >= share * len(texts)


def _is_text(table: Table, name: str, varied: float = 0.5) -> bool:
    """Tell whether a field that nobody knows may be what is asked about."""
    texts = table.texts(name)
    if len(texts) < 0.5 * len(table.rows) or plain(name) in map(plain, ID):
        return False
    several = sum(" " in text.strip() or not text.isascii() for text in texts)
    return len(set(texts)) > varied * len(texts) and several > 0.5 * len(texts)


# ---- proposals


def _proposed(table: Table, language: Tag) -> str | None:
    """Return options with which the file is understood: they are tried before they are proposed."""
    rows: list[tuple[int, Row | Defect]] = list(table.rows[:_SAMPLE])
    for roles, relation in _candidates(table):
        new = {role: names for role, names in roles.items() if role not in table.asked.roles}
        if not new and relation is None:
            continue
        asked = replace(
            table.asked,
            roles={**table.asked.roles, **new},
            relation=relation or table.asked.relation,
            where={},
            skip_bad=True,
        )
        trial = Table(table.rows[:_SAMPLE], list(names_of(rows)), asked, table.path)
        trial.fields.update({key: table.fields[key] for key in ("unfold", "where") if key in table.fields})
        try:
            _guessed(trial, language)
        except Undecided:
            pass
        except UserError:
            continue
        words = [table.option(role, *names) for role, names in new.items()]
        return " ".join([*words, *([f"--relation {relation}"] if relation else [])])
    return None


def _candidates(table: Table) -> Iterator[tuple[dict[str, list[str]], str | None]]:
    """Yield what the fields may mean by their values alone, the most likely first."""
    taken = {name for names in table.asked.roles.values() for name in names}
    names = [name for name in table.names if name not in taken and not name.count(",")]
    rows = [row for _, row in table.rows[:_SAMPLE]]
    values = {name: [value_at(row, name) for row in rows] for name in names}
    lists = [n for n in names if all(isinstance(v, list) and len(v) > 1 for v in values[n])]
    marks = [n for n in lists if not any(isinstance(item, str | dict) for v in values[n] for item in v)]
    lists = [n for n in lists if n not in marks]
    texts = [n for n in names if n not in [*lists, *marks] and _are_words(values[n])]
    spelt = [n for n in names if n not in [*lists, *marks] and _are_indices(values[n])]
    asks = [n for n in texts if all(map(direction, filter(None, map(str, values[n]))))]
    texts = [n for n in texts if n not in asks]
    rest = {n: [values[m] for m in texts if m != n] for n in texts}
    same = [n for n in texts if all(any(v == o[k] for o in rest[n]) for k, v in enumerate(values[n]))]
    labels: list[list[str]] = [[n] for n in [*same, *reversed(spelt), *marks]] + [[]]
    asked_choices = table.asked.roles.get("choices")
    for label in labels:
        left = [n for n in texts if n not in label]
        for choices in [asked_choices] if asked_choices else _choice_sets(left, lists, values, label):
            others = sorted(
                (n for n in left if n not in choices),
                key=lambda n: -sum(len(str(v)) for v in values[n]),
            )
            question = asks[:1] or [n for n in others if _share_asking(values[n]) > 0.8][:1]
            premise = [n for n in others if n not in question][:1]
            roles = {"premise": premise, "question": question, "choices": choices, "label": label}
            yield {role: found for role, found in roles.items() if found}, None if others or asks else "none"


def _choice_sets(
    left: Sequence[str], lists: Sequence[str], values: dict[str, list[Any]], label: Sequence[str]
) -> Iterator[list[str]]:
    for name in lists:
        yield [name]
    spelt = [found[1] for n in label for v in values[n] if (found := spelt_index(v))] or [0, 1]
    highest = max(spelt)
    likely = [highest, highest + 1] if min(spelt) else [highest + 1, highest]
    counts = [*likely, *range(len(left) - 1, 1, -1), len(left)]
    for count in dict.fromkeys(n for n in counts if 2 <= n <= len(left)):
        yield list(left[-count:])
        if count < len(left):
            yield list(left[:count])


def _are_words(values: Sequence[Any]) -> bool:
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    if len(texts) < 0.9 * len(values) or all(spelt_index(text) for text in texts):
        return False
    return len(set(texts)) > 1


def _are_indices(values: Sequence[Any]) -> bool:
    told = [value for value in values if not is_missing(value)]
    found = [spelt_index(value) for value in told]
    return bool(told) and all(found) and 1 < len({f[1] for f in found if f}) <= 12


def _share_asking(values: Sequence[Any]) -> float:
    return sum(str(value).rstrip(" \"'»”」)").endswith(_MARKS) for value in values) / max(1, len(values))


def _proposed_columns(table: Table) -> str | None:
    """Return names for the columns of a table whose first line is none of names; None: it seems to be one."""
    names = table.names
    rows = [row for _, row in table.rows[:_SAMPLE]]
    if not 3 <= len(names) <= 30 or any(set(row) != set(names) for row in rows) or table.asked.columns:
        return None
    roles = (CONTEXT, QUESTION, known_names.CHOICES, known_names.LABEL, ID, known_names.LANGUAGE)
    lettered = sum(len(stem) > 0 for stem in groups(names))
    if any(known(role, [n]) for role in roles for n in names if len(n) > 1) or lettered:
        return None
    columns = [[name, *(row[name] for row in rows)] for name in names]
    alike = sum(_are_indices(column) or _alike(column) for column in columns)
    if alike < len(columns) - 1:
        return None
    return ",".join(column_names(columns))


def _alike(column: Sequence[Any]) -> bool:
    """Tell whether the first cell of a column may be a text like those below it."""
    if not all(isinstance(cell, str) for cell in column) or not column[1:]:
        return False
    lengths = sorted(len(cell) for cell in column[1:])
    return lengths[0] / 3 <= len(column[0]) <= lengths[-1] * 3 and (" " in column[0]) == (
        2 * sum(" " in cell for cell in column[1:]) > len(column) - 1
    )


def column_names(columns: Sequence[Sequence[Any]]) -> list[str]:
    """Propose names for columns by what they hold.

    Args:
        columns: The cells of each.
    """
    found: list[str] = []
    small = [k for k, column in enumerate(columns) if _are_indices(column)]
    label = small[-1] if small else None
    choices = 0
    for k, column in enumerate(columns):
        texts = [str(cell) for cell in column]
        if k == label:
            found.append("label")
        elif all(map(direction, texts)):
            found.append("question")
        elif k == 0 and len(set(texts)) == len(texts) and not any(" " in text for text in texts):
            found.append("id")
        elif "question" not in found and _share_asking(column) > 0.8:
            found.append("question")
        elif not {"premise", "question"} & set(found):
            found.append("premise")
        else:
            choices += 1
            found.append(f"choice{choices}")
    return found
