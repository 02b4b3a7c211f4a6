"""The one exception for everything a user can mend."""

from metaxcr.printable import printable

LONGEST = 1200  # characters of a part of a message


class UserError(Exception):
    """The user's input is wrong, and one line says what, where, and how to mend it.

    The command line prints the line without a traceback and exits with status 2. Values of other people's
    files in it are made printable here, so that no caller has to.

    Args:
        what: What is wrong.
        where: The place: a file, a ``file:line``, a configuration key.
        fix: What to do about it.
    """

    def __init__(self, what: str, where: str | None = None, fix: str | None = None) -> None:
        what, where, fix = _short(what), where and _short(where), fix and _short(fix)
        self.what, self.where, self.fix = what, where, fix
        place = f" ({where})" if where else ""
        remedy = f": {fix}" if fix else ""
        super().__init__(printable(f"{what}{place}{remedy}"))


def _short(text: str) -> str:
    """Leave out the middle of a text that is far too long for a line: it quotes what a file holds."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 200]} ... {text[-180:]}"


class MetaXCRWarning(UserWarning):
    """Something works less well than the user may think: no adapter for a language, a text that was cut."""
