"""What is known of languages: family, script, and whether an encoder has seen them."""

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
    """Family of a language, or ``unknown``."""
    return FAMILIES.get(language, "unknown")


def script(language: str) -> str:
    """Script in which a language's test sets are written."""
    return SCRIPTS.get(language, "Latin" if language in FAMILIES else "unknown")


def seen(language: str, encoder: str) -> str:
    """Whether an encoder was pretrained on a language, by the published list of its corpus.

    Args:
        language: ISO 639-1 code.
        encoder: Its name in a configuration.
    """
    name = encoder.lower()
    if name.startswith("random"):
        return "unknown"  # such weights have seen nothing
    if "bert-base-multilingual" in name or "mbert" in name or "distilbert" in name:
        corpus = MBERT
    elif name == "embedded" or any(part in name for part in ("xlm-r", "e5", "minilm")):
        corpus = CC100
    else:
        return "unknown"
    return "seen" if language in corpus else "not seen"


def groups(language: str, encoder: str) -> dict[str, str]:
    """All three, by the name of what is grouped by."""
    return {"family": family(language), "script": script(language), "seen": seen(language, encoder)}
