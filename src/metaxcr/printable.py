"""Make foreign text safe to print: control characters and direction overrides become visible escapes.

Texts, ids, names, licences and file heads come from other people, and a terminal obeys control characters in
what it prints. The console, error messages, progress, pages and figures all use this module.
"""

import re
from collections.abc import Iterable, Mapping

# Kept: line feeds, tabs, and the joiners and marks that scripts need
# (ZWNJ and ZWJ, U+200C and U+200D; LRM, RLM and ALM, U+200E, U+200F and U+061C).
_UNPRINTABLE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f"  # C0, including escape
    "\x7f-\x9f"  # delete and C1, including the one-byte forms of the escape sequences
    "\u2028\u2029"  # line and paragraph separator
    "\u202a-\u202e\u2066-\u206f"  # bidirectional embeddings, overrides, isolates; deprecated controls
    "\ufeff\ufff9-\ufffb"  # byte order mark; interlinear annotation
    "\ud800-\udfff"  # half a surrogate pair, from file names that are not UTF-8
    "]"
)


def printable(text: str) -> str:
    r"""Return a text with control characters written as ``\x1b``, ``\u202e`` and so on.

    Line feeds and tabs stay. Without control characters it is the same object.
    """
    return _UNPRINTABLE.sub(_escape, text) if _UNPRINTABLE.search(text) else text


def printable_json(text: str) -> str:
    """Return JSON text with the same value and no control characters."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shorten(name: str, limit: int) -> str:
    """Return a printable name of at most ``limit`` (3 or more) characters, cut in the middle."""
    shown = printable(name).replace("\n", " ").replace("\t", " ")
    if len(shown) <= limit:
        return shown
    tail = (limit - 1) // 2
    return f"{shown[: limit - 1 - tail]}…{shown[len(shown) - tail :]}"


def shorten_all(names: Iterable[str], limit: int) -> Mapping[str, str]:
    """Return short forms of names by name; equal ones get a number at the end."""
    short: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        shown, number = shorten(name, limit), 1
        while shown in taken:
            number += 1
            shown = f"{shorten(name, max(3, limit - len(str(number)) - 1))}~{number}"
        taken.add(shown)
        short[name] = shown
    return short


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
