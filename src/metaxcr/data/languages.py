"""Languages: tags, names in data files, scripts, families, and whether an encoder has seen them."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import langcodes

from metaxcr.errors import UserError

_TABLES = json.loads((Path(__file__).parent / "languages.json").read_text(encoding="utf-8"))
# Codes that users often give instead of a language code, most of them of countries.
_MISTAKES: dict[str, str] = _TABLES["mistakes"]
# Names of languages in English, in themselves and in some neighbours -> code.
_NAMES = {name: code for code, names in _TABLES["names"].items() for name in names.split()}
# Words next to the name of a language: "hrvatski jezik", "bahasa indonesia".
_FILLERS = frozenset(_TABLES["fillers"].split())
# ISO 15924 -> scripts in the names of Unicode's characters; and further scripts of some languages.
_SCRIPTS = {code: set(names.split()) for code, names in _TABLES["scripts"].items()}
_OTHER_SCRIPTS = {code: set(names.split()) for code, names in _TABLES["other_scripts"].items()}
# Families as in Glottolog's top level, Indo-European by branch because most of the sets are.
_FAMILIES: dict[str, str] = _TABLES["families"]
_TEST_SCRIPTS: dict[str, str] = _TABLES["test_scripts"]  # where it is not the Latin one
# Conneau et al. 2020 (XLM-R), table 6: CC-100; the MiniLM and E5 models of its family were distilled from it.
_CC100 = frozenset(_TABLES["cc100"].split())
# The 104 Wikipedias of multilingual BERT (cased); those with codes of three letters are left out.
_MBERT = frozenset(_TABLES["mbert"].split())
_MIN_SHARE = 0.2  # of the letters in a script of the language; below that, the text is in another language


@dataclass(frozen=True, slots=True)
class Tag:
    """A language as a user named it."""

    code: str  # ISO 639-1, or 639-3 where there is no two-letter code
    given: str
    note: str | None = None  # for the user: what of the tag was dropped


def language_tag(given: str) -> Tag:
    """Read an ISO 639 code or BCP 47 tag.

    Region, script and dialect (``pt-BR``, ``sr-Latn``, ``hr-ckm``) are dropped: adapters and parallel text
    know languages only. The error for an unknown language names the code that is probably meant.
    """
    place, text = "--language", given.strip()
    meant = _MISTAKES.get(text.casefold().replace("_", "-").split("-")[0]) or _by_name(text)
    if meant is not None:
        kanuri = text.casefold() == "kr"
        kind = "Kanuri in ISO 639 (write 'kau' for it)" if kanuri else "not a language code"
        raise UserError(f"'{text}' is {kind}", place, f"write '{meant}'")
    try:
        tag = langcodes.Language.get(text)
        valid = tag.language not in (None, "und", "mul", "mis", "zxx")
        valid = valid and langcodes.Language.make(language=tag.language).is_valid()
    except ValueError:
        valid = False
    if not valid:
        fix = "give its ISO 639 code, such as sw or th (two letters; three where there are no two)"
        raise UserError(f"'{text}' is not a language code", place, fix)
    code = str(tag.prefer_macrolanguage().language)
    if code.casefold() == text.casefold():
        return Tag(code, text)
    rest = ": only the language counts" if "-" in text or "_" in text else ""
    return Tag(code, text, f"'{text}' is kept as '{code}'{rest}")


def language_named(value: object) -> tuple[str, str] | None:
    """Read a language from a cell of a table: ``hr``, ``hrv_Latn``, ``Croatian`` or ``hrvatski jezik``.

    Returns its code and the rest (region, script, variety or nothing); None where the cell names no language.
    """
    return _named(value.strip()) if isinstance(value, str) and 1 < len(value.strip()) <= 60 else None


def is_language(value: str) -> bool:
    """Tell whether a word is certainly a language: a name, a tag, or a two-letter code.

    Three letters are not enough: ``one``, ``yes`` and ``two`` are codes, too.
    """
    text = value.strip()
    if language_named(text) is None:
        return False
    tagged = any(len(part) == 4 or part.isupper() for part in re.split("[-_]", text)[1:])
    return _by_name(text) is not None or tagged or len(text) == 2


@lru_cache(maxsize=4096)
def _named(text: str) -> tuple[str, str] | None:
    if code := _by_name(text):
        return code, " ".join(sorted(word for word in _words(text) if word not in _NAMES))
    try:
        code = language_tag(text).code
    except UserError:
        meant = _MISTAKES.get(text.casefold())
        return (meant, "") if meant else None
    language, plain = langcodes.Language.get(code), text.casefold().replace("_", "-")
    script = (language.maximize().script or "").casefold()
    usual = [f"{spelt}{end}" for spelt in (code, language.to_alpha3()) for end in ("", f"-{script}")]
    return code, "" if plain in usual else plain


def _by_name(text: str) -> str | None:
    """Find the code of a language named in words, perhaps with a word for its script or region."""
    words = _words(text)
    codes = {_NAMES[word] for word in words if word in _NAMES}
    return codes.pop() if len(codes) == 1 and len(words) < 4 else None


def _words(text: str) -> list[str]:
    words = [word for word in re.split(r"[\s()_,/-]+", unicodedata.normalize("NFC", text).casefold()) if word]
    return [word for word in words if word not in _FILLERS] or words


def script_warning(texts: Iterable[str], code: str) -> str | None:
    """Return a warning where texts are in a script in which their language is not written, or None."""
    expected = _SCRIPTS.get(langcodes.Language.get(code).maximize().script or "")
    if not expected:
        return None
    expected = expected | _OTHER_SCRIPTS.get(code, set())
    letters = Counter(_script(char) for text in texts for char in text if char.isalpha())
    total = sum(letters.values())
    if not total or sum(letters[name] for name in expected) >= _MIN_SHARE * total:
        return None
    most = letters.most_common(1)[0][0].replace("CJK", "Chinese")
    usual = " or ".join(sorted(expected)).title().replace("Cjk", "Chinese")
    return f"the texts are mostly in {most.title()} letters, and '{code}' is written in {usual}"


def _script(char: str) -> str:
    name = unicodedata.name(char, "?").replace("FULLWIDTH ", "").replace("HALFWIDTH ", "")
    return name.split()[0].split("-")[0]


def _seen_in_pretraining(language: str, encoder: str) -> str:
    """Return ``seen`` or ``not seen``, by the published list of the encoder's corpus, or ``unknown``."""
    name = encoder.lower()
    if not name.startswith("random"):  # weights of no training
        if any(part in name for part in ("bert-base-multilingual", "mbert", "distilbert")):
            return "seen" if language in _MBERT else "not seen"
        if name == "embedded" or any(part in name for part in ("xlm-r", "e5", "minilm")):
            return "seen" if language in _CC100 else "not seen"
    return "unknown"


def language_groups(language: str, encoder: str) -> dict[str, str]:
    """Return the groups of a language in which results are averaged: ``family``, ``script`` and ``seen``."""
    return {
        "family": _FAMILIES.get(language, "unknown"),
        "script": _TEST_SCRIPTS.get(language, "Latin" if language in _FAMILIES else "unknown"),
        "seen": _seen_in_pretraining(language, encoder),
    }
