"""Proposals for columns with unknown names: the roles that they may have by their values alone."""

from collections.abc import Iterator, Sequence
from typing import Any

from metaxcr.data.infer.table import Table, has_role, numbered_columns, question_kind
from metaxcr.data.labels import is_missing, parse_index
from metaxcr.data.rows import value_at

SAMPLE = 200  # rows that are looked at
_QUESTION_MARKS = ("?", "？", "؟", "՞")
_HEADER_ROLES = ("context", "question", "choices", "label", "id", "language")
_MAX_CHOICES = 12


def candidate_roles(table: Table) -> Iterator[tuple[dict[str, list[str]], str | None]]:
    """Yield roles with their columns, the most likely first, and the relation to be given, or None."""
    taken = {name for names in table.hints.roles.values() for name in names}
    names = [name for name in table.names if name not in taken and "," not in name]
    rows = [row for _, row in table.rows[:SAMPLE]]
    values = {name: [value_at(row, name) for row in rows] for name in names}
    lists = [n for n in names if all(isinstance(v, list) and len(v) > 1 for v in values[n])]
    marks = [n for n in lists if not any(isinstance(item, str | dict) for v in values[n] for item in v)]
    lists = [n for n in lists if n not in marks]
    cells = [n for n in names if n not in lists and n not in marks]
    texts = [n for n in cells if _are_texts(values[n])]
    indices = [n for n in cells if _are_indices(values[n])]
    kinds = [n for n in texts if all(map(question_kind, filter(None, map(str, values[n]))))]
    texts = [n for n in texts if n not in kinds]
    for label in [*_answer_texts(texts, values), *reversed(indices), *marks, None]:
        rest = [n for n in texts if n != label]
        asked = table.hints.roles.get("choices")
        for choices in [asked] if asked else _choice_sets(rest, lists, values[label] if label else ()):
            others = [n for n in rest if n not in choices]
            others.sort(key=lambda n: -sum(len(str(v)) for v in values[n]))
            question = kinds[:1] or [n for n in others if share_of_questions(values[n]) > 0.8][:1]
            premise = [n for n in others if n not in question][:1]
            roles = {"premise": premise, "question": question, "choices": choices}
            roles["label"] = [label] if label else []
            yield {role: found for role, found in roles.items() if found}, None if others or kinds else "none"


def _answer_texts(texts: Sequence[str], values: dict[str, list[Any]]) -> list[str]:
    """List the columns whose text stands in another column, too, in every row."""
    rows = list(zip(*(values[name] for name in texts), strict=True))
    return [name for place, name in enumerate(texts) if all(row.count(row[place]) > 1 for row in rows)]


def _choice_sets(texts: Sequence[str], lists: Sequence[str], labels: Sequence[object]) -> Iterator[list[str]]:
    """Yield columns that may be the choices: a list, or the last or first few texts."""
    for name in lists:
        yield [name]
    indices = [found[1] for label in labels if (found := parse_index(label))] or [0, 1]
    highest = max(indices)
    likely = [highest, highest + 1] if min(indices) else [highest + 1, highest]
    counts = [*likely, *range(len(texts) - 1, 1, -1), len(texts)]
    for count in dict.fromkeys(n for n in counts if 2 <= n <= len(texts)):
        yield list(texts[-count:])
        if count < len(texts):
            yield list(texts[:count])


def _are_texts(values: Sequence[object]) -> bool:
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    if len(texts) < 0.9 * len(values) or all(parse_index(text) for text in texts):
        return False
    return len(set(texts)) > 1


def _are_indices(values: Sequence[object]) -> bool:
    present = [value for value in values if not is_missing(value)]
    indices = [parse_index(value) for value in present]
    return bool(present) and all(indices) and 1 < len({i[1] for i in indices if i}) <= _MAX_CHOICES


def share_of_questions(values: Sequence[object]) -> float:
    """Return the share of texts that end with a question mark of some script."""
    return sum(str(v).rstrip(" \"'»”」)").endswith(_QUESTION_MARKS) for v in values) / max(1, len(values))


# ---- tables without a header line


def missing_header(table: Table) -> str | None:
    """Propose ``--columns`` for a table whose first line is a row; None where it seems to be a header."""
    names, rows = table.names, [row for _, row in table.rows[:SAMPLE]]
    if not 3 <= len(names) <= 30 or any(set(row) != set(names) for row in rows) or table.hints.columns:
        return None
    known = any(has_role(name, role) for role in _HEADER_ROLES for name in names if len(name) > 1)
    if known or any(numbered_columns(names)):
        return None
    columns = [[name, *(row[name] for row in rows)] for name in names]
    alike = sum(_are_indices(column) or _starts_alike(column) for column in columns)
    return ",".join(propose_names(columns)) if alike >= len(columns) - 1 else None


def _starts_alike(column: Sequence[Any]) -> bool:
    """Tell whether the first cell of a column may be a text like those below it."""
    first, *rest = column
    if not rest or not all(isinstance(cell, str) for cell in column):
        return False
    lengths = [len(cell) for cell in rest]
    mostly_spaced = 2 * sum(" " in cell for cell in rest) > len(rest)
    return min(lengths) / 3 <= len(first) <= max(lengths) * 3 and (" " in first) == mostly_spaced


def propose_names(columns: Sequence[Sequence[Any]]) -> list[str]:
    """Propose names for columns, given their cells."""
    indices = [k for k, column in enumerate(columns) if _are_indices(column)]
    names: list[str] = []
    choices = 0
    for k, column in enumerate(columns):
        texts = [str(cell) for cell in column]
        if indices and k == indices[-1]:
            names.append("label")
        elif all(map(question_kind, texts)):
            names.append("question")
        elif k == 0 and len(set(texts)) == len(texts) and not any(" " in text for text in texts):
            names.append("id")
        elif "question" not in names and share_of_questions(column) > 0.8:
            names.append("question")
        elif not {"premise", "question"} & set(names):
            names.append("premise")
        else:
            choices += 1
            names.append(f"choice{choices}")
    return names
