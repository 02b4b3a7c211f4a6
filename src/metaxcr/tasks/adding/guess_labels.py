"""Which field holds the labels, and how it spells them."""

from metaxcr.errors import UserError
from metaxcr.parse import digits_value
from metaxcr.tasks.adding.label_kinds import Labelled, is_missing, label_kind
from metaxcr.tasks.adding.names import LABEL, known
from metaxcr.tasks.adding.table import Table, value_at
from metaxcr.tasks.readers import choices_of
from metaxcr.tasks.rows import Defect
from metaxcr.tasks.spec import Fields

_NO_LABELS = "no labels"


def find_label(table: Table) -> bool:
    """Find the labels and how they are spelt.

    Args:
        table: The file; the choices are known. Field and kind are written into its fields.

    Returns:
        False: there are none, or all are hidden.

    Raises:
        UserError: They cannot be understood, or a field looks like labels that nobody named.
    """
    if table.asked.labels == "none":
        table.why["label"] = f"{_NO_LABELS}, as you say"
        return False
    names = table.asked.roles.get("label") or known(LABEL, table.left)
    listed = {name: _labels(table, name) for name in names}
    for name, rows in listed.items():
        if rows and (found := _kind(table, name, rows)):
            table.take(name)
            table.fields |= {"label": name, "label_kind": found[0]}
            table.why["label"] = f"{name}, {found[1]}"
            return True
    strange = next((name for name, rows in listed.items() if rows), None)
    if strange is not None:
        raise UserError(
            f"'{strange}' is neither an index nor a letter, a key or the text of a choice",
            f"{table.path}:{listed[strange][0].line}",
            "say --map label=FIELD, or how it is spelt: --labels KIND; --labels none if there are none",
        )
    suspect = None if names else next((name for name in table.left if _may_be(table, name)), None)
    if suspect is not None:
        raise table.error(f"'{suspect}' looks like labels", "--labels none, or --map label=")
    table.take(*names)
    table.why["label"] = f"{_NO_LABELS}: {names[0]} is null or -1 in every row" if names else _NO_LABELS
    return False


def _kind(table: Table, name: str, rows: list[Labelled]) -> tuple[str, str] | None:
    if table.asked.labels is not None:
        return table.asked.labels, f"{table.asked.labels}, as you say"
    return label_kind(rows, f"{table.path}, '{name}'")


def _labels(table: Table, name: str) -> list[Labelled]:
    """Collect the labels that a field holds beside the choices of their rows."""
    fields = Fields.model_validate(table.fields)
    listed = []
    for line, row in table.rows:
        raw = value_at(row, name)
        try:
            texts = choices_of(row, fields)
        except Defect:
            continue  # the reader names the row
        keys: list[object] = []
        if fields.choice_keys is not None:
            keys = list(value_at(row, fields.choice_keys) or [])
        elif fields.choice_key is not None and isinstance(fields.choices, str):
            keys = [choice.get(fields.choice_key) for choice in value_at(row, fields.choices)]
        if not is_missing(raw) or raw in keys:
            listed.append(Labelled(line, raw, texts, keys))
    return listed


def _may_be(table: Table, name: str) -> bool:
    """Tell whether a field that nobody knows may be the labels: a few small numbers, over and over."""
    values = table.values(name)
    numbers = [v if type(v) is int else digits_value(v) if isinstance(v, str) else None for v in values]
    different, listed = {n for n in numbers if n is not None}, table.fields["choices"]
    if len(values) <= 5 or None in numbers:
        return False
    most = len(listed) if isinstance(listed, list) else 4
    return len(different) > 1 and max(different) <= most
