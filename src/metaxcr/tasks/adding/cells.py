"""A cell of a table that holds a whole list of choices."""

import json
import re
from typing import Any

from metaxcr.parse import json_value, literal_value
from metaxcr.tasks.rows import Defect, shown

# What stands in front of a choice: "1.", "(2)", "C)", a number in a circle.
_NUMBER = re.compile(r"(?:\(?(?:\d{1,2}|[A-Ja-j])[.)]|[①-⑳㉠-㉭])\s+|[①-⑳]\s*")


def cut_cell(cell: str, how: str) -> Any:
    """Cut a text that holds all choices.

    Args:
        cell: The text.
        how: ``lines`` or ``json``, see :class:`metaxcr.tasks.spec.Fields`.

    Returns:
        The choices; for ``json`` whatever is written there.

    Raises:
        Defect: It is not written that way.
    """
    if how == "lines":
        lines = [_NUMBER.sub("", line.strip()) for line in cell.split("\n")]
        return [line for line in lines if line]
    try:
        return json_value(cell)
    except json.JSONDecodeError:
        pass  # the list may be written as Python does
    except ValueError as error:
        raise Defect(f"{shown(cell[:40])} is no list: {error}", "write a list as JSON does") from None
    try:
        return literal_value(cell)
    except ValueError:
        raise Defect(f"{shown(cell[:40])} is no list", "write a list as JSON does") from None
