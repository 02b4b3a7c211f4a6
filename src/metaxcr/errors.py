"""The exception and the warning that are shown to users."""

from metaxcr.printable import printable

LONGEST = 1200  # characters in a part of a message


class UserError(Exception):
    """The user's input is wrong: what, where, and how to mend it, in one line.

    The command line prints the line without a traceback and exits with status 2. Values from other people's
    files in it are made printable here.

    Args:
        what: What is wrong.
        where: A file, a ``file:line``, or a configuration key.
        fix: What to do about it.
    """

    def __init__(self, what: str, where: str | None = None, fix: str | None = None) -> None:
        what, where, fix = _short(what), where and _short(where), fix and _short(fix)
        self.what, self.where, self.fix = what, where, fix
        place = f" ({where})" if where else ""
        remedy = f": {fix}" if fix else ""
        super().__init__(printable(f"{what}{place}{remedy}"))


def _short(text: str) -> str:
    """Cut the middle of a text that quotes too much of a file."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 200]} ... {text[-180:]}"


class MetaXCRWarning(UserWarning):
    """Something works less well than the user may expect, for example a text that was cut."""
