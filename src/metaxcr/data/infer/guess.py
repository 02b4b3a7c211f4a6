"""The role of every column of a file, guessed from its name and confirmed by its values."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path

from metaxcr.data.infer.guess_choices import columns_of_choices, find_choices, find_steps, most, or_none
from metaxcr.data.infer.guess_labels import AmbiguousLabels, find_label
from metaxcr.data.infer.roles_by_value import SAMPLE, candidate_roles, missing_header, share_of_questions
from metaxcr.data.infer.table import (
    ColumnHints,
    NotUnderstood,
    Table,
    comparable,
    has_role,
    has_word,
    is_blank,
    known,
    numbered_columns,
    question_kind,
    select_rows,
    vocabulary,
)
from metaxcr.data.labels import without_numbers
from metaxcr.data.languages import Tag
from metaxcr.data.readers import choices_of
from metaxcr.data.rows import Defect, Row, unfold_rows, value_at
from metaxcr.data.spec import Fields
from metaxcr.errors import UserError

_UNIQUE = 0.99  # share of different values that makes a column an id
_MANY = 50  # rows from which a few repeated ids may be mistakes
_QUESTION_OR_CONTEXT = ("query", "prompt")  # question marks decide
_KIND_ONLY = ("task", "type", "relation", "questiontype")  # a question only where it says cause or effect
_MANY_QUESTIONS = 6  # rows from which two different questions are words for cause and effect
_LONG = 25  # characters on average that make texts long
_SPLITS = {"train", "training", "dev", "val", "valid", "validation", "test", "testing", "eval"}


def guess(
    rows: Sequence[tuple[int, Row | Defect]],
    language: Tag,
    hints: ColumnHints,
    path: Path,
    part: str | None = None,
) -> Table:
    """Guess the roles of a file's columns from its rows, as parsed.

    ``path`` is for messages; ``part`` is the key of the file's one object that holds the rows.
    """
    unfolded = list(unfold_rows(rows, [], part, hints.columns or None))
    steps = find_steps([row for _, row in unfolded[:SAMPLE] if not isinstance(row, Defect)])
    if steps:
        unfolded = list(unfold_rows(unfolded, steps))
    good = [(line, row) for line, row in unfolded if not isinstance(row, Defect)]
    table = Table(good, hints, path)
    if len(good) < len(unfolded) and (columns := missing_header(table)):
        raise UserError("the first line names no columns", f"{path}:1", f"say --columns {columns}")
    for line, row in unfolded:
        if isinstance(row, Defect) and not (hints.skip_bad and good):
            skip = ", or leave such rows out with --skip-bad" if good else ""
            raise UserError(row.what, f"{path}:{line}", f"{row.fix}{skip}")
    if not good:
        raise UserError("the file holds no rows", str(path), "name the data file")
    if steps:
        table.fields["unfold"] = steps
        table.reasons["rows"] = "inside " + ", ".join("+".join(step) for step in steps)[:100]
    try:
        _guess_columns(table, language)
    except NotUnderstood as error:
        raise _with_proposal(error, table, language) from error
    return table


def _guess_columns(table: Table, language: Tag) -> None:
    """Guess one role after the other; each takes its columns out of those that are left."""
    for role in ("premise", "question", "choices", "label", "id", "language", "ignore"):
        for name in table.hints.roles.get(role, []):
            if not any(name == column or column.startswith(f"{name}.") for column in table.names):
                fix = f"--map {role}=COLUMN with one of them"
                raise NotUnderstood(f"there is no column '{name}'", table, fix)
    select_rows(table, language)
    _guess_choices(table)
    _guess_relation(table, *_find_texts(table))
    table.labelled = find_label(table)
    _guess_id(table)
    _warn(table)


def _with_proposal(error: NotUnderstood, table: Table, language: Tag) -> UserError:
    """Return the error with options that would make the file understood, if there are any."""
    first_line = f"{table.path}:1"
    if columns := missing_header(table):
        fix = f"if the file has no header line, say --columns {columns}"
        return UserError(error.problem, first_line, fix)
    if options := _working_options(table, language):
        return UserError(error.what, error.where, f"say {options}")
    if any(name.count(" ") > 3 for name in table.names):  # these are texts, not names
        fix = "the first line must name the columns: premise, choice1, choice2, label or the like"
        return UserError(error.problem, first_line, fix)
    return error


def _working_options(table: Table, language: Tag) -> str | None:
    """Return options with which the file is understood; each proposal is tried on a sample."""
    given = table.hints.roles
    for roles, relation in candidate_roles(table):
        new = {role: names for role, names in roles.items() if role not in given}
        if not new and relation is None:
            continue
        relation_hint = relation or table.hints.relation
        hints = replace(table.hints, roles={**given, **new}, relation=relation_hint, where={}, skip_bad=True)
        trial = Table(table.rows[:SAMPLE], hints, table.path)
        trial.fields |= {key: table.fields[key] for key in ("unfold", "where") if key in table.fields}
        try:
            _guess_columns(trial, language)
        except AmbiguousLabels:
            pass
        except UserError:
            continue
        options = [table.option(role, *names) for role, names in new.items()]
        return " ".join([*options, *([f"--relation {relation}"] if relation else [])])
    return None


# ---- choices, id


def _guess_choices(table: Table) -> None:
    """Find the choices, and whether a few rows have more of them than all others."""
    roles, rows = table.hints.roles, [row for _, row in table.rows]
    taken = {name for role in ("premise", "question", "label", "id") for name in roles.get(role, [])}
    names = [name for name in table.unused if name not in taken]
    found = find_choices(names, rows, roles.get("choices", []))
    if found is None:
        fix = "--map choices=COLUMN,COLUMN or --map choices=COLUMN"
        raise NotUnderstood("no columns hold the choices", table, fix)
    table.fields.update(found)
    table.use(*columns_of_choices(found, table.unused))
    table.reasons["choices"] = ", ".join(_listed(found["choices"]))
    fields = Fields.model_validate(found)
    table.choices = [or_none(choices_of, row, fields) for row in rows]
    if found.get("label_kind") != "first" and most(
        without_numbers(choices) is not None for choices in table.choices if choices
    ):
        table.fields["choice_numbers"] = True
    counts = Counter(len(choices) for choices in table.choices if choices)
    if not counts:
        return
    usual, times = counts.most_common(1)[0]
    odd = counts.total() - times
    few_have_more = (
        max(counts) > usual == min(counts) and times >= 10 and odd <= max(1, 0.01 * counts.total())
    )
    if few_have_more or "choices" in table.hints.repairs:
        table.repairs.append({"step": "choices", "n": usual})


def _guess_id(table: Table) -> None:
    """Find a column that identifies the rows; otherwise the number of the line or row does."""
    given = table.hints.roles.get("id", [])
    allowed = bool(given) or "repeated-ids" in table.hints.repairs
    for name in given or known("id", table.unused):
        values = table.values(name)
        different, n = len(set(map(str, values))), len(values)
        unique = different == n or (n > _MANY and different >= _UNIQUE * n)
        unusable = any(map(is_blank, values)) or bool(set(name) & set(".[]{}!:"))
        if unusable and given:
            raise UserError(f"'{name}' cannot be an id", str(table.path), "it is nested, or blank in a row")
        if unusable or not (unique or allowed):
            continue
        digits = all(str(value).strip().isdecimal() for value in values)
        table.fields["id"] = f"{{split}}-{{{name}}}" if digits else f"{{{name}}}"
        table.use(name)
        table.reasons["id"] = name + (f" ({n - different} rows repeat one)" if different < n else "")
        table.repairs += [{"step": "repeated-ids"}] if different < n else []
        return
    by_line = len({line for line, _ in table.rows}) == len(table.rows)
    table.fields["id"] = "{split}-{line}" if by_line else "{split}-{position}"
    table.reasons["id"] = "the number of the line" if by_line else "the number of the row"


# ---- context and question


def _find_texts(table: Table) -> tuple[list[str], list[str]]:
    """Return the column of the question, and the columns of the context; there may be none."""
    roles = table.hints.roles
    question, context = roles.get("question", [])[:1], list(roles.get("premise", []))
    table.use(*context, *question)
    question = question or _find_question(table, has_context=bool(context))
    table.use(*question)
    context = context or _find_context(table)
    guessed = not question and len(context) == 1 and "premise" not in roles
    if guessed and _asks(table, context[0], 0.8):
        question, context = context, []
    elif all(is_blank(value) for name in context for value in table.values(name)):
        context = []
    table.use(*context, *question)
    nothing = not context and not question and table.hints.relation != "none"
    if nothing and any(_is_varied_text(table, name) for name in table.unused):
        fix = "--relation none, or --map premise=COLUMN"
        raise NotUnderstood("no column is known to be the context", table, fix)
    return question, context


def _find_question(table: Table, *, has_context: bool) -> list[str]:
    for name in known("question", table.unused):
        texts = table.texts(name)
        if len(texts) < 0.9 * len(table.rows):
            continue
        if comparable(name) in _KIND_ONLY and not all(map(question_kind, texts)):
            continue
        if comparable(name) in _QUESTION_OR_CONTEXT:
            context = has_context or any(other != name for other in known("context", table.unused))
            if not context and not _asks(table, name, 0.5):
                continue
        return [name]
    return []


def _find_context(table: Table) -> list[str]:
    for name in known("context", table.unused):
        if all(value is None or isinstance(value, str) or _is_parts(value) for value in table.values(name)):
            return [name]
    numbered = numbered_columns(table.unused)
    for stem in vocabulary("context_stems"):
        if stem in numbered and table.texts(numbered[stem][0]):
            return numbered[stem]
    for name in table.unused:  # reading_passage, news article, ...
        named = has_word(name, "passage_words") and not has_word(name, "no_passage_words")
        if named and _is_varied_text(table, name, 0.0):
            return [name]
    return []


def _is_parts(value: object) -> bool:
    """Tell whether a value is a text in parts: the turns of a dialogue, the sentences of a passage."""
    return isinstance(value, list) and bool(value) and all(isinstance(part, str) for part in value)


def _asks(table: Table, name: str, share: float) -> bool:
    texts = table.texts(name)
    return bool(texts) and share_of_questions(texts) >= share


def _is_varied_text(table: Table, name: str, varied: float = 0.5) -> bool:
    """Tell whether a column with an unknown name may be what the choices are about."""
    texts = table.texts(name)
    if len(texts) < 0.5 * len(table.rows) or has_role(name, "id"):
        return False
    several_words = sum(" " in text.strip() or not text.isascii() for text in texts)
    return len(set(texts)) > varied * len(texts) and several_words > 0.5 * len(texts)


# ---- relation between context and choices


def _guess_relation(table: Table, question: list[str], context: list[str]) -> None:
    """Tell relation and phrasing as a task declares them, with the fields of question and context."""
    if context:
        table.fields["context"] = context[0] if len(context) == 1 else context
        table.reasons["context"] = ", ".join(context)
    if question:
        table.fields["question"] = question[0]
        _relation_with_question(table, question[0], context)
    elif len(context) == 1 and all(str(value).count("_") == 1 for value in table.values(context[0])):
        table.reasons["context"] += ", with a blank _"
        table.relation = "effect"
        table.phrasing = {"blank": "_", "context": "{before}", "choice": "{choice}{after}"}
    elif context:  # in PIQA the solution leads to the goal
        table.relation = "cause" if comparable(context[0]) == "goal" else "effect"
    if table.hints.relation == "question" and table.relation != "question":
        problem = "relation 'question' needs a question that is cause or effect"
        raise NotUnderstood(problem, table, "--map question=COLUMN")
    table.relation = table.hints.relation or table.relation


def _relation_with_question(table: Table, question: str, context: list[str]) -> None:
    words = _words_for_kinds(table, question)
    if words is None:
        table.reasons["question"] = f"{question}, in words"
        if any(is_blank(value) for name in context for value in table.values(name)):
            table.fields["blank_context"] = True
        table.relation = "answer"
        table.phrasing = {"context": "{context} {question}" if context else "{question}"}
        return
    if not context:
        problem = f"'{question}' asks for cause or effect, but there is no context"
        raise NotUnderstood(problem, table, "--map premise=COLUMN")
    table.relation = "question"
    table.reasons["question"] = f"{question}, cause or effect"
    if words:
        table.fields["question_words"] = words
        spelt = (f"{'/'.join(found)} = {kind}" for kind, found in words.items())
        table.reasons["question"] += f" ({', '.join(spelt)})"


def _words_for_kinds(table: Table, name: str) -> dict[str, list[str]] | None:
    """Return how a column spells cause and effect, nothing if in these words; None: it asks in words."""
    counts = Counter(value.strip() for value in table.texts(name))
    roles = table.hints.roles
    given = {word.casefold(): kind for kind in ("cause", "effect") for word in roles.get(kind, [])}
    kinds = {value: given.get(value.casefold()) or question_kind(value) for value in counts}
    unknown = sorted(value for value, kind in kinds.items() if kind is None)
    if unknown and not given and table.hints.relation != "question" and _are_in_words(counts, unknown):
        return None
    rare = sum(counts[value] for value in unknown) <= 0.02 * counts.total()
    if unknown and not (table.hints.skip_bad and rare):
        spelt = " and ".join(repr(value[:40]) for value in unknown[:3])
        what = f"'{name}' is {spelt}; it is not known which means cause and which effect"
        raise UserError(what, str(table.path), "say --map cause=WORD --map effect=WORD")
    if set(counts) <= {"cause", "effect", *unknown}:
        return {}
    words = {kind: sorted(v for v, k in kinds.items() if k == kind) for kind in ("cause", "effect")}
    return {kind: spelt for kind, spelt in words.items() if spelt}


def _are_in_words(counts: Counter[str], unknown: list[str]) -> bool:
    """Tell questions in words from unknown words for cause and effect."""
    if sum(counts[value] for value in unknown) < 0.5 * counts.total() and len(counts) < 20:
        return False  # most are cause or effect: the others are mistakes
    short = all(len(value.split()) < 3 and not share_of_questions([value]) for value in counts)
    return len(counts) != 2 or not (short or counts.total() >= _MANY_QUESTIONS)


# ---- warnings: labels beside the file, columns that are not used


def _warn(table: Table) -> None:
    """Name unused columns that hold long or varied text, or that tell splits apart, and a file of labels."""
    context, question = _listed(table.fields.get("context")), _listed(table.fields.get("question"))
    for name in table.unused:
        ignore = table.option("ignore", name)
        values = {str(value).strip().casefold() for value in table.values(name)}
        if len(values) > 1 and values <= _SPLITS:
            where = shlex.join(["--where", f"{name}={min(values)}"])
            table.warnings.append(
                f"'{name}' has {', '.join(sorted(values))}, and all rows are read as one split: choose "
                f"rows with {where}, or say {ignore}"
            )
        elif _holds_new_text(table, name, [*context, *question]):
            table.warnings.append(
                f"'{name}' holds text and is not used: if it is part of the context say "
                f"{table.option('premise', *context, name)}, otherwise {ignore}"
            )
    if table.labelled or table.hints.labels is not None:
        return
    file = table.path  # a file beside it may hold the labels, such as PIQA's train-labels.lst
    stem = escape(file.name.partition(".")[0])
    if beside := sorted(
        other.name for other in file.parent.glob(f"{stem}*label*") if other.name != file.name
    ):
        join = f"join the two files, with the labels as a column 'label' of {file.name}"
        table.warnings.append(f"{beside[0]} may hold the labels: {join}; otherwise say --labels none")


def _listed(names: str | list[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else names or []


def _holds_new_text(table: Table, name: str, used: Sequence[str]) -> bool:
    """Tell whether a column holds long or varied text that no used column holds, too."""
    rows = [(text, row) for _, row in table.rows if (text := _joined(value_at(row, name)))]
    if len(rows) < 0.1 * len(table.rows) or has_role(name, "id"):
        return False
    texts = [text for text, _ in rows]
    worded = [t for t in texts if (" " in t or not t.isascii()) and not t.startswith(("http://", "https://"))]
    if len(worded) < 0.5 * len(texts):
        return False
    repeated = sum(any(text in _joined(value_at(row, other)) for other in used) for text, row in rows)
    if repeated >= 0.9 * len(rows):
        return False
    different = len(set(texts))
    long = sum(map(len, texts)) / len(texts) >= _LONG
    return (long and different > 1) or different > max(5, 0.3 * len(texts))


def _joined(value: object) -> str:
    if isinstance(value, list):
        return " ".join(part.strip() for part in value if isinstance(part, str))
    return value.strip() if isinstance(value, str) else ""
