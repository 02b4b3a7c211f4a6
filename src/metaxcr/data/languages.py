"""Languages: tags, names in data files, scripts, families, and whether an encoder has seen them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import langcodes

from metaxcr.errors import UserError

# Codes that users often give instead of a language code, most of them of countries.
_MISTAKES = {
    "jp": "ja", "cn": "zh", "kr": "ko", "cz": "cs", "gr": "el", "dk": "da", "ua": "uk", "vn": "vi",
    "ir": "fa", "rs": "sr", "il": "he", "iq": "ar", "us": "en", "gb": "en", "pk": "ur", "bd": "bn",
    "np": "ne", "kz": "kk", "al": "sq", "kh": "km", "ph": "fil", "ke": "sw", "tz": "sw", "mx": "es",
    "at": "de", "hk": "zh", "eg": "ar",
}  # fmt: skip
# Names of languages in English, in themselves, and in some neighbours, by code.
_NAMED = """
af afrikaans| am amharic amarigna አማርኛ| ar arabic العربية عربي عربية arabisch arabe árabe|
as assamese অসমীয়া| ay aymara aymar| az azerbaijani azeri azərbaycanca azərbaycan| ba bashkir башҡорт|
be belarusian беларуская| bg bulgarian български bulgarisch bulgare| bn bengali bangla বাংলা|
bo tibetan བོད་སྐད| br breton brezhoneg| bs bosnian bosanski| ca catalan català katalanisch|
ceb cebuano binisaya| ckb sorani کوردی| cs czech čeština český tschechisch tchèque checo|
cy welsh cymraeg| da danish dansk dänisch danois|
de german deutsch allemand alemán tedesco njemački niemiecki немецкий almanca alemão|
el greek ελληνικά griechisch grec griego|
en english englisch anglais inglés inglese engleski английский angielski ingilizce inglês kiingereza|
en 英語 英语 영어 الإنجليزية|
eo esperanto|
es spanish castilian español castellano spanisch espagnol spagnolo španjolski испанский espanhol|
et estonian eesti estnisch| eu basque euskara euskera baskisch| fa persian farsi dari فارسی persisch|
fi finnish suomi finnisch| fil filipino tagalog| fo faroese føroyskt|
fr french français französisch francés francese francuski французский francês kifaransa|
ga irish gaeilge| gl galician galego| gn guarani avañe'ẽ| gu gujarati ગુજરાતી| ha hausa|
he hebrew עברית hebräisch| hi hindi हिन्दी हिंदी|
hr croatian hrvatski kroatisch croate croata хорватский| ht haitian kreyòl kreyol creole ayisyen|
hu hungarian magyar ungarisch hongrois| hy armenian հայերեն|
id indonesian indonesia bahasa indonesisch indonésien| ig igbo| is icelandic íslenska|
it italian italiano italienisch italien talijanski итальянский| ja japanese 日本語 japanisch japonais|
jv javanese jawa| ka georgian ქართული| kk kazakh қазақша қазақ| km khmer cambodian ខ្មែរ|
kn kannada ಕನ್ನಡ| ko korean 한국어 koreanisch coréen| ku kurdish kurmanji kurdî| ky kyrgyz кыргызча|
la latina| lb luxembourgish lëtzebuergesch| lg ganda luganda| ln lingala| lo lao ລາວ|
lt lithuanian lietuvių| lv latvian latviešu| mg malagasy| mi maori māori|
mk macedonian македонски makedonski mazedonisch macédonien македонский| ml malayalam മലയാളം|
mn mongolian монгол| mr marathi मराठी| ms malay melayu| mt maltese malti| my burmese မြန်မာ|
ne nepali नेपाली| nl dutch flemish nederlands niederländisch| nb bokmål bokmal| nn nynorsk|
no norwegian norsk norwegisch| ny chichewa nyanja| oc occitan| om oromo oromoo| or odia oriya ଓଡ଼ିଆ|
pa punjabi panjabi ਪੰਜਾਬੀ| pl polish polski polnisch polonais| ps pashto پښتو|
pt portuguese português portugiesisch portugais| qu quechua runasimi| ro romanian română rumänisch|
ru russian русский russisch russe ruso ruski| rw kinyarwanda| sa sanskrit संस्कृतम्| sd sindhi سنڌي|
si sinhala sinhalese සිංහල| sk slovak slovenčina slovenský slowakisch|
sl slovene slovenian slovenščina slovenski slowenisch| sn shona chishona| so somali soomaali|
sq albanian shqip albanisch| sr serbian српски srpski serbisch serbe| st sotho sesotho|
su sundanese sunda| sv swedish svenska schwedisch| sw swahili kiswahili suaheli| ta tamil தமிழ்|
te telugu తెలుగు| tg tajik тоҷикӣ| th thai ไทย ภาษาไทย thailändisch| ti tigrinya ትግርኛ|
tk turkmen türkmençe| tn tswana setswana| tr turkish türkçe türkisch turc turco турецкий|
ts tsonga xitsonga| tt tatar татарча| ug uyghur ئۇيغۇرچە| uk ukrainian українська ukrainisch|
ur urdu اردو| uz uzbek oʻzbek o'zbek oʻzbekcha| vi vietnamese việt vietnamesisch| wo wolof|
xh xhosa isixhosa| yi yiddish ייִדיש| yo yoruba yorùbá| yue cantonese 粵語|
zh chinese mandarin 中文 汉语 漢語 chinesisch chinois chino 普通话| zu zulu isizulu
"""
_NAMES = {name: entry.split()[0] for entry in _NAMED.split("|") for name in entry.split()[1:]}
# Words next to the name of a language: "hrvatski jezik", "bahasa indonesia".
_FILLERS = frozenset({
    "language", "jezik", "језик", "язык", "мова", "език", "jazyk", "język", "lingua", "langue",
    "idioma", "língua", "sprache", "taal", "språk", "dil", "dili", "kieli", "nyelv", "bahasa", "lugha",
    "tiếng", "language:", "modern", "standard", "اللغة", "زبان", "भाषा", "भाषा:",
})  # fmt: skip
_SCRIPTS = {
    "Latn": {"LATIN"}, "Cyrl": {"CYRILLIC"}, "Arab": {"ARABIC"}, "Hans": {"CJK"}, "Hant": {"CJK"},
    "Jpan": {"HIRAGANA", "KATAKANA", "CJK"}, "Kore": {"HANGUL", "CJK"}, "Thai": {"THAI"},
    "Deva": {"DEVANAGARI"}, "Beng": {"BENGALI"}, "Taml": {"TAMIL"}, "Telu": {"TELUGU"},
    "Knda": {"KANNADA"}, "Mlym": {"MALAYALAM"}, "Gujr": {"GUJARATI"}, "Guru": {"GURMUKHI"},
    "Orya": {"ORIYA"}, "Sinh": {"SINHALA"}, "Mymr": {"MYANMAR"}, "Khmr": {"KHMER"}, "Laoo": {"LAO"},
    "Geor": {"GEORGIAN"}, "Armn": {"ARMENIAN"}, "Hebr": {"HEBREW"}, "Grek": {"GREEK"},
    "Ethi": {"ETHIOPIC"}, "Tibt": {"TIBETAN"}, "Olck": {"OL"}, "Mtei": {"MEETEI"},
}  # fmt: skip
# Further scripts of languages that are written in several.
_OTHER_SCRIPTS = {
    "sr": {"LATIN"}, "bs": {"CYRILLIC"}, "uz": {"CYRILLIC", "ARABIC"}, "az": {"CYRILLIC", "ARABIC"},
    "kk": {"LATIN"}, "mn": {"CYRILLIC", "MONGOLIAN"}, "pa": {"ARABIC"}, "ku": {"ARABIC"},
    "ks": {"DEVANAGARI"}, "sd": {"DEVANAGARI"}, "ms": {"ARABIC"}, "tg": {"ARABIC"}, "tt": {"LATIN"},
    "tk": {"CYRILLIC"}, "ha": {"ARABIC"}, "kok": {"LATIN"}, "gom": {"LATIN"},
    "sat": {"DEVANAGARI", "BENGALI"}, "mni": {"BENGALI"}, "ber": {"LATIN", "ARABIC"}, "be": {"LATIN"},
    "cr": {"LATIN"}, "yue": {"CJK"}, "vi": {"CJK"},
}  # fmt: skip
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
    know languages only.

    Raises:
        UserError: No such language; the message names the code that is probably meant.
    """
    place, text = "--language", given.strip()
    meant = _MISTAKES.get(text.casefold().replace("_", "-").split("-")[0]) or _by_name(text)
    if meant is not None:
        kanuri = text.casefold() == "kr"
        kind = "Kanuri in ISO 639 (write 'kau' for it)" if kanuri else "not a language code"
        raise UserError(f"'{text}' is {kind}", place, f"write '{meant}'")
    try:
        tag = langcodes.Language.get(text)
        valid = tag.language is not None and langcodes.Language.make(language=tag.language).is_valid()
    except ValueError:
        tag, valid = None, False
    if tag is None or not valid or tag.language in (None, "und", "mul", "mis", "zxx"):
        fix = "give its ISO 639 code, such as sw or th (two letters; three where there are no two)"
        raise UserError(f"'{text}' is not a language code", place, fix)
    code = str(tag.prefer_macrolanguage().language)
    if code.casefold() == text.casefold():
        return Tag(code, text)
    rest = any(mark in text for mark in "-_")
    return Tag(code, text, f"'{text}' is kept as '{code}'" + (": only the language counts" if rest else ""))


def language_named(value: object) -> tuple[str, str] | None:
    """Read a language from a cell of a table: ``hr``, ``hrv_Latn``, ``Croatian`` or ``hrvatski jezik``.

    Returns:
        The code as of :func:`language_tag`, and the rest: region, script, variety or nothing; None: the cell
        names no language.
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
    code = _by_name(text)
    if code is not None:
        words = sorted(word for word in _words(text) if word not in _NAMES)
        return code, " ".join(words)
    try:
        tag = language_tag(text)
    except UserError:
        code = _MISTAKES.get(text.casefold())
        return None if code is None else (code, "")
    plain = text.casefold().replace("_", "-")
    usual = {tag.code, langcodes.Language.get(tag.code).to_alpha3()}
    script = langcodes.Language.get(tag.code).maximize().script or ""
    usual |= {f"{code}-{script.casefold()}" for code in usual}
    return tag.code, "" if plain in usual else plain


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
    script = langcodes.Language.get(code).maximize().script
    expected = _SCRIPTS.get(script or "")
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


# Families as in Glottolog's top level, Indo-European by branch because most of the sets are.
FAMILIES = {
    "ar": "Afro-Asiatic", "de": "Indo-European, Germanic", "en": "Indo-European, Germanic",
    "es": "Indo-European, Romance", "et": "Uralic", "eu": "Basque", "fr": "Indo-European, Romance",
    "hi": "Indo-European, Indo-Aryan", "ht": "French-based creole", "id": "Austronesian",
    "it": "Indo-European, Romance", "ja": "Japonic", "jp": "Japonic", "my": "Sino-Tibetan",
    "nl": "Indo-European, Germanic", "pl": "Indo-European, Slavic", "pt": "Indo-European, Romance",
    "qu": "Quechuan", "ru": "Indo-European, Slavic", "sw": "Atlantic-Congo", "ta": "Dravidian",
    "te": "Dravidian", "th": "Tai-Kadai", "tr": "Turkic", "ur": "Indo-European, Indo-Aryan",
    "vi": "Austroasiatic", "zh": "Sino-Tibetan",
}  # fmt: skip
SCRIPTS = {
    "ar": "Arabic", "hi": "Devanagari", "ja": "Japanese", "jp": "Japanese", "my": "Burmese",
    "ru": "Cyrillic", "ta": "Tamil", "te": "Telugu", "th": "Thai", "ur": "Arabic", "zh": "Han",
}  # fmt: skip
# Conneau et al. 2020 (XLM-R), table 6: CC-100; the MiniLM and E5 models of its family were distilled from it.
CC100 = frozenset(
    """
    af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr
    hu hy id is it ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my ne nl no om or pa pl ps
    pt ro ru sa sd si sk sl so sq sr su sv sw ta te th tl tr ug uk ur uz vi xh yi zh
    """.split()  # noqa: SIM905
)
# The 104 Wikipedias of multilingual BERT (cased); those with codes of three letters are left out.
MBERT = frozenset(
    """
    af an ar az ba be bg bn br bs ca ce cs cv cy da de el en es et eu fa fi fr fy ga gl gu he hi hr ht
    hu hy id io is it ja jv ka kk kn ko ky la lb lt lv mg mk ml mn mr ms my ne nl nn no oc pa pl pt ro
    ru sk sl sq sr su sv sw ta te tg th tl tr tt uk ur uz vi vo yo zh
    """.split()  # noqa: SIM905
)


def family(language: str) -> str:
    """Return the family of a language, or ``unknown``."""
    return FAMILIES.get(language, "unknown")


def script(language: str) -> str:
    """Return the script in which a language's test sets are written, or ``unknown``."""
    return SCRIPTS.get(language, "Latin" if language in FAMILIES else "unknown")


def _seen_in_pretraining(language: str, encoder: str) -> str:
    """Return ``seen`` or ``not seen``, by the published list of the encoder's corpus, or ``unknown``."""
    name = encoder.lower()
    if name.startswith("random"):
        return "unknown"  # random weights
    if "bert-base-multilingual" in name or "mbert" in name or "distilbert" in name:
        corpus = MBERT
    elif name == "embedded" or any(part in name for part in ("xlm-r", "e5", "minilm")):
        corpus = CC100
    else:
        return "unknown"
    return "seen" if language in corpus else "not seen"


def language_groups(language: str, encoder: str) -> dict[str, str]:
    """Return the groups of a language in which results are averaged: ``family``, ``script`` and ``seen``."""
    return {
        "family": family(language),
        "script": script(language),
        "seen": _seen_in_pretraining(language, encoder),
    }
