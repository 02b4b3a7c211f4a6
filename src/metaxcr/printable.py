"""How foreign text is shown: texts, ids, names, licences and file heads are other people's.

A terminal obeys the control characters in what is printed: it sets its title, clears its screen, writes its
clipboard. Bidirectional overrides show a text in an order that it does not have. Here such characters become
visible escapes; the console, the error messages, the progress, the pages and the figures all use it.
"""

import re
from collections.abc import Iterable, Mapping

# Kept: line feeds and tabs, which our own texts have, and the joiners and marks that scripts need
# (ZWNJ and ZWJ, U+200C and U+200D; LRM, RLM and ALM, U+200E, U+200F and U+061C).
_UNPRINTABLE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f"  # C0; what a terminal calls escape is among them
    "\x7f-\x9f"  # delete and C1, among them the one-byte forms of the escape sequences
    "\u2028\u2029"  # line and paragraph separator
    "\u202a-\u202e\u2066-\u206f"  # bidirectional embeddings, overrides, isolates; deprecated controls
    "\ufeff\ufff9-\ufffb"  # byte order mark; interlinear annotation
    "\ud800-\udfff"  # half a surrogate pair, which cannot be encoded: of file names that are not UTF-8
    "]"
)


def printable(text: str) -> str:
    r"""Return a text with every character that a terminal or a page would obey as a visible escape."""
    return _UNPRINTABLE.sub(_escape, text) if _UNPRINTABLE.search(text) else text


def printable_json(text: str) -> str:
    """Return JSON text that has the same value and nothing that a terminal would obey."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shorten(name: str, limit: int) -> str:
    """Return a printable name of at most ``limit`` characters, without its middle where it is longer."""
    shown = printable(name).replace("\n", " ").replace("\t", " ")
    if len(shown) <= limit:
        return shown
    tail = (limit - 1) // 2
    return f"{shown[: limit - 1 - tail]}…{shown[len(shown) - tail :]}"


def shorten_all(names: Iterable[str], limit: int) -> Mapping[str, str]:
    """Return short forms of names by name; those that would look alike end in their number."""
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
