"""What authors call their fields, and how they write ``cause`` and ``effect``."""

import re
import unicodedata
from collections.abc import Iterable

# Of each role, the most telling name first. Names are compared without case, blanks, hyphens and underscores.
CONTEXT = (
    "premise", "context", "ctx", "startphrase", "situation", "goal", "sentence", "passage",
    "paragraph", "support", "story", "background", "scenario", "narrative", "article", "cite",
    "dialogue", "description", "event", "p", "text", "prompt", "query", "前提", "文脈", "背景", "전제",
    "문맥", "문장", "본문", "지문", "متن", "مقدمه",
    "نص", "premisa", "premissa", "contexto", "contesto", "kontext",
    "contexte", "pasaje", "texto", "lesetext", "textabschnitt", "testo", "brano", "trecho", "passagem",
    "odlomak", "tekst", "texte", "extrait", "paragraphe", "отрывок", "текст", "النص", "مقطع", "فقرة",
    "文章", "段落", "短文", "본문", "kifungu", "metin", "parça", "bacaan", "teks", "अनुच्छेद", "गद्यांश",
    "บทความ", "đoạn văn", "fragment", "úryvok", "úryvek", "besedilo", "pasus", "απόσπασμα", "κείμενο",
    "szöveg", "katkend", "testua", "контекст", "посылка", "önerme", "bağlam", "premiss", "konteks",
    "muktadha", "संदर्भ", "บริบท",
)  # fmt: skip
QUESTION = (
    "question", "asksfor", "askfor", "questionstem", "stem", "questiontext", "questiontype", "q",
    "task", "type", "relation", "صورت سوال", "سوال", "پرسش", "سؤال", "السؤال", "질문", "문제", "質問", "問題",
    "设问", "问题", "pregunta", "pergunta", "domanda", "frage", "вопрос", "soru", "pertanyaan", "swali",
    "प्रश्न", "คำถาม", "câu hỏi", "küsimus", "kérdés", "pytanie", "galdera", "query", "prompt",
    "questions",
)  # fmt: skip
CHOICES = (
    "choices", "options", "candidates", "endings", "alternatives", "answers", "answerchoices",
    "answeroptions", "hypotheses", "solutions", "mcoptions", "responses", "选项", "選択肢", "선택지", "보기",
    "گزینه ها", "گزینهها", "opciones", "opções", "scelte", "choix", "antworten", "варианты",
    "seçenekler", "pilihan", "choice", "option", "choicelist", "optionlist",
)  # fmt: skip
STEMS = (
    "choice", "alternative", "option", "answer", "mcanswer", "ending", "sol", "solution", "hyp",
    "hypothesis", "candidate", "a", "ans", "opt", "response", "", "randomfifthsentencequiz",
    "sentencequiz", "fifthsentence", "گزینه", "جواب", "خيار", "선택지", "보기", "選択肢", "选项", "opción",
    "opcion", "opção", "opcao", "alternativa", "scelta", "wahl", "antwort", "choix", "вариант",
    "ответ", "seçenek", "pilihan", "chaguo", "विकल्प", "ตัวเลือก", "lựa chọn",
)  # fmt: skip
CONTEXT_STEMS = (
    "inputsentence", "sent", "obs", "observation", "sentence", "premise", "context", "line",
)  # fmt: skip
LABEL = (
    "label", "labels", "gold", "goldlabel", "answerkey", "correct", "correctanswer", "correctchoice",
    "correctoption", "correctlabel", "answerrightending", "rightanswer", "rightending",
    "correctanswernum", "correctanswerid", "correctanswerindex", "correctansweridx",
    "correctoptionindex", "correctidx", "mostplausiblealternative", "answerindex", "answeridx",
    "answerid", "labelidx", "correctindex", "target", "answer", "answers", "outputs", "output", "key",
    "solution", "پاسخ", "جواب", "گزینه صحیح", "الجواب", "정답", "답", "正解", "答え", "正答", "答案", "标签",
    "respuesta", "respuesta correcta", "resposta", "risposta", "richtig", "lösung", "réponse", "ответ",
    "правильный ответ", "cevap", "doğru cevap", "jawaban", "jibu", "उत्तर", "คำตอบ", "đáp án",
    "vastus", "helyes", "erantzuna",
)  # fmt: skip
ID = (
    "id", "idx", "qid", "questionid", "exampleid", "itemid", "sampleid", "storyid", "inputstoryid",
    "uid", "guid", "uuid", "index", "ind", "pairid", "no", "number", "شناسه", "번호", "番号", "编号",
    "اسم فایل",
)  # fmt: skip
LANGUAGE = (
    "language", "lang", "locale", "langcode", "languagecode", "isocode", "langid", "languageid",
    "languagename", "langname", "dialect", "variety", "idioma", "língua", "langue", "lingua",
    "sprache", "jezik", "језик", "язык", "мова", "język", "jazyk", "dil", "taal", "språk", "kieli",
    "nyelv", "lugha", "bahasa", "言語", "语言", "語言", "언어", "اللغة", "لغة", "زبان", "भाषा", "ภาษา",
    "ngôn ngữ", "γλώσσα", "dialekt", "dijalekt", "dialecto", "dialetto", "dialecte", "narječje",
    "diyalekt",
)  # fmt: skip
CHOICE_TEXT = (
    "text", "choice", "content", "answer", "option", "para", "body", "answertext", "choicetext",
    "optiontext", "value",
)  # fmt: skip
CHOICE_FLAG = (
    "correct", "iscorrect", "isanswer", "isright", "right", "score", "gold", "label", "istrue",
    "answer", "plausible", "isplausible", "truth", "value", "points", "fraction", "grade", "weight",
)  # fmt: skip
# Words in the names of fields that hold a context, whatever stands beside them; and of those that do not.
PASSAGE = frozenset({
    "passage", "context", "article", "paragraph", "story", "background", "document", "excerpt",
    "narrative", "dialogue", "conversation", "scenario", "premise", "situation", "sentence", "pasaje",
    "contexto", "lesetext", "отрывок", "контекст", "odlomak", "kontext", "kontekst", "konteks",
    "contexte", "contesto",
})  # fmt: skip
NO_PASSAGE = frozenset({
    "id", "idx", "title", "url", "link", "source", "type", "number", "num", "explanation", "rationale",
    "reason", "hint", "count", "length", "name", "language", "lang",
})  # fmt: skip
# Words in the names of fields that hold the right answer, or a wrong one.
RIGHT = frozenset({
    "correct", "right", "gold", "golden", "best", "true", "richtig", "richtige", "korrekt", "correcta",
    "correcto", "correta", "correcte", "bonne", "juste", "corretta", "giusta", "točan", "točno",
    "tačan", "правильный", "верный", "точен", "правильна", "doğru", "benar", "sahihi", "정답", "正解",
    "正确", "正確", "صحيح", "الصحيحة", "صحیح", "सही", "đúng", "poprawna", "správná", "pravilen",
    "pravilni", "juist", "juiste", "rätt", "oikea", "helyes", "σωστή", "zuzena", "õige",
})  # fmt: skip
WRONG = frozenset({
    "incorrect", "wrong", "false", "distractor", "distractors", "distracter", "foil", "foils",
    "negative", "negatives", "falsch", "falsche", "incorrecta", "incorrecto", "incorreta", "mauvaise",
    "fausse", "sbagliata", "errata", "netočan", "netočno", "netačan", "неправильный", "неверный",
    "неточен", "yanlış", "salah", "오답", "誤答", "不正解", "错误", "錯誤", "خطأ", "خاطئة", "غلط", "गलत",
    "sai", "błędna", "špatná", "napačen", "fout", "foute", "fel", "väärä", "helytelen", "λάθος", "okerra",
    "vale", "makosa", "distraktor", "distractores", "implausible",
})  # fmt: skip
CHOICE_KEY = (
    "label", "key", "id", "letter", "option", "no",
)  # fmt: skip

CAUSE, EFFECT = (
    {
        "cause", "causes", "why", "reason", "원인", "이유", "原因", "理由", "причина", "causa",
        "ursache", "grund", "علت", "دلیل", "سبب", "السبب", "neden", "sebep", "ok", "põhjus",
        "przyczyna", "sababu", "chanzo", "penyebab", "sebab", "สาเหตุ", "เหตุ", "nguyên nhân", "कारण",
        "কারণ", "காரணம்", "కారణం", "وجہ", "uzrok", "узрок", "причината", "vzrok", "príčina", "příčina",
        "αιτία", "סיבה", "cauză", "cauza", "årsag", "orsak", "årsak", "syy", "oorzaak", "kauza",
        "cêlonis", "kòz", "koz", "kausa", "arrazoia", "what was the cause of this",
        "what was the cause", "what is the cause of this", "what caused this", "what is the cause",
    },
    {
        "effect", "effects", "result", "consequence", "결과", "結果", "结果", "результат", "следствие",
        "efecto", "efeito", "effetto", "efecte", "effet", "conséquence", "consecuencia", "consequência",
        "conseguenza", "resultado", "risultato", "wirkung", "folge", "auswirkung", "ergebnis", "معلول",
        "نتیجه", "نتيجة", "النتيجة", "أثر", "sonuç", "okozat", "következmény", "tagajärg", "skutek",
        "matokeo", "athari", "akibat", "ผล", "ผลลัพธ์", "ผลที่ตามมา", "kết quả", "hậu quả", "परिणाम",
        "प्रभाव", "ফলাফল", "விளைவு", "ఫలితం", "نتیجہ", "posljedica", "последица", "последица од",
        "posledica", "následek", "následok", "αποτέλεσμα", "תוצאה", "efect", "efectul", "virkning",
        "følge", "effekt", "seuraus", "gevolg", "rezilta", "konsekans", "ondorioa", "eragina",
        "what happened as a result", "what is the effect", "what was the effect", "what was the result",
        "what happens as a result",
    },
)  # fmt: skip

_NUMBERED = re.compile(r"(.*?)[ _.-]?(\d{1,2})")
_LETTERED = re.compile(r"(.*?)[ _.-]?([a-j])")


def plain(name: str) -> str:
    """Bring the name of a field into the form in which names are compared.

    Args:
        name: As the file has it; of a dotted name the last part counts.

    Returns:
        Case-folded, digits as 0 to 9, without blanks, hyphens and underscores.
    """
    return re.sub(r"[\s_‌-]", "", _digits(name).rpartition(".")[2])


def words_of(name: str) -> list[str]:
    """Cut the name of a field into its words.

    Args:
        name: As the file has it, such as ``correctAnswer_2``; of a dotted name the last part counts.

    Returns:
        The words, case-folded, without numbers.
    """
    last = re.sub(r"(?<=[a-zà-ž])(?=[A-ZÀ-Ž])", " ", name.rpartition(".")[2])
    return [
        word for word in re.split(r"[\s_\u200c\d.-]+", unicodedata.normalize("NFC", last).casefold()) if word
    ]


def groups(names: Iterable[str]) -> dict[str, list[str]]:
    """Find the fields that are numbered or lettered: the choices often are.

    Args:
        names: Of all fields.

    Returns:
        Stem (with the dotted path before it) -> the fields in the order of their numbers, two or more, that
        count up from 0, 1 or A without a gap.
    """
    found: dict[tuple[str, str], dict[int, str]] = {}
    for name in names:
        path, _, last = _digits(name).rpartition(".")
        for kind, pattern, base in (("number", _NUMBERED, 0), ("letter", _LETTERED, ord("a") - 1)):
            match = pattern.fullmatch(last)
            if match:
                number = int(match[2]) if base == 0 else ord(match[2]) - base
                stem = f"{path}." if path else ""
                found.setdefault((kind, stem + plain(match[1])), {}).setdefault(number, name)
                break
    kept: dict[str, list[str]] = {}
    for (_, stem), members in found.items():
        numbers = sorted(members)
        if len(numbers) > 1 and numbers[0] in (0, 1) and numbers[-1] - numbers[0] == len(numbers) - 1:
            kept.setdefault(stem, [members[number] for number in numbers])
    return kept


def direction(word: str) -> str | None:
    """Tell whether a question asks for the cause or the effect.

    Args:
        word: A word in one of many languages, or one of COPA's two sentences.

    Returns:
        ``cause``, ``effect``, or None: neither is known of it.
    """
    asked = unicodedata.normalize("NFC", word).strip().casefold().rstrip(" ?.？؟:")
    return "cause" if asked in CAUSE else "effect" if asked in EFFECT else None


def _digits(name: str) -> str:
    """Fold case and write digits of any script as 0 to 9."""
    folded = unicodedata.normalize("NFC", name).strip().casefold()
    return "".join(str(unicodedata.digit(char)) if char.isdigit() else char for char in folded)


def known(role: tuple[str, ...], names: Iterable[str]) -> list[str]:
    """List the fields that a table of names knows, the most telling first.

    Args:
        role: One of the tables.
        names: Of all fields.
    """
    places = {plain(name): place for place, name in reversed(list(enumerate(role)))}
    return sorted((name for name in names if plain(name) in places), key=lambda name: places[plain(name)])
