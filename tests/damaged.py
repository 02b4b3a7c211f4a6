"""Damaged data files: how each is made, how its task declares it, and what has to be said about it.

Every file is read through the library and through the command line. Where only one row is damaged, the others
are read once the task says ``skip_bad``.
"""

import gzip
import json
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow
import yaml
from pyarrow import parquet

Row = dict[str, Any]
HEAD = ("id", "premise", "a", "b", "label")
FIELDS = {"id": "{id}", "context": "premise", "choices": ["a", "b"], "label": "label"}
LISTED = {"id": "{id}", "context": "premise", "choices": "list", "label": "label"}
KEYED = {**FIELDS, "label_kind": "key", "choice_keys": "k"}
COPA = {"id": "{id}", "context": "p", "choices": ["a1", "a2"], "label": "most-plausible-alternative"}
COPA |= {"question": "asks-for", "label_kind": "one"}


@dataclass(frozen=True)
class Damaged:
    """A damaged file.

    Attributes:
        name: Of the case.
        make: Writes the file; or its content.
        told: Part of what has to be said.
        line: Where: the line; None: the file as a whole.
        changes: Keys of the declaration; ``format`` is ``jsonl`` unless it is among them.
        labels: Name and content of a label file.
        at_labels: The place is in the label file.
        left: Examples that remain when rows are skipped; None: the file is refused all the same.
        skipped: Rows that are then left out.
    """

    name: str
    make: bytes | Callable[[Path], None]
    told: str
    line: int | None = 2
    changes: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, bytes] | None = None
    at_labels: bool = False
    left: int | None = None
    skipped: int = 1

    @property
    def file(self) -> str:
        """Name of the file, as its format suggests."""
        return f"data.{self.changes.get('format', 'jsonl').split('-')[0]}"

    def write(self, folder: Path) -> Path:
        """Write the file, and the label file if there is one; return the place that is to be named."""
        path = folder / self.file
        if callable(self.make):
            self.make(path)
        else:
            path.write_bytes(self.make)
        if self.labels is not None:
            (folder / self.labels[0]).write_bytes(self.labels[1])
        return folder / self.labels[0] if self.labels and self.at_labels else path

    def declare(self, folder: Path, tasks: Path, **changes: Any) -> str:
        """Write the declaration into a folder of tasks; return the name of the task."""
        files = {"data": str(folder / self.file), "labels": self.labels and str(folder / self.labels[0])}
        declared = {
            "id": "damaged", "version": 1, "title": "Damaged", "group": "source", "languages": ["en"],
            "format": "jsonl", "fields": FIELDS, "splits": {"train": {"files": files}}, "relation": "effect",
            "licence": "none", "citation": "Nobody (2026)", "url": "https://example.org",
        }  # fmt: skip
        tasks.mkdir(exist_ok=True)
        (tasks / "damaged.yaml").write_text(yaml.safe_dump({**declared, **self.changes, **changes}))
        return "damaged"


def good(number: int, **changes: Any) -> Row:
    """A row that is as it should be, but for the changes."""
    row = {"id": f"x{number}", "premise": f"The glass fell {number}.", "a": "It broke.", "b": "It sang."}
    return {**row, "label": 0, **changes}


def jsonl(*rows: Row) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def table(*records: Sequence[object], by: str = ",") -> bytes:
    """A table with its head; nothing is quoted."""
    return "".join(by.join(map(str, record)) + "\n" for record in (HEAD, *records)).encode()


def cells(number: int, **changes: Any) -> list[Any]:
    return list(good(number, **changes).values())


def row(name: str, told: str, **changes: Any) -> Damaged:
    """The second of three rows is damaged, and only that."""
    return Damaged(name, jsonl(good(1), good(2, **changes), good(3)), told, left=2)


def line(name: str, text: str | bytes, told: str, left: int | None = 2) -> Damaged:
    """The second of three lines is no row at all."""
    raw = text.encode() if isinstance(text, str) else text
    return Damaged(name, jsonl(good(1)) + raw + b"\n" + jsonl(good(3)), told, left=left)


def listed(name: str, told: str, choices: object, **fields: Any) -> Damaged:
    """The second of three rows has a list of choices that cannot be used."""
    rows = [
        {"id": f"x{n}", "premise": "The glass fell.", "list": ["It broke.", "It sang."], "label": 0}
        for n in (1, 2, 3)
    ]
    rows[1]["list"] = choices
    return Damaged(name, jsonl(*rows), told, changes={"fields": {**LISTED, **fields}}, left=2)


def csv(name: str, content: bytes, told: str, line: int | None = 3, **more: Any) -> Damaged:
    return Damaged(
        name, content, told, line, {"format": more.pop("format", "csv"), **more.pop("changes", {})}, **more
    )


def tsv(name: str, content: bytes, told: str, line: int, **more: Any) -> Damaged:
    return csv(name, content, told, line, format="tsv", **more)


def columns(*names: str) -> dict[str, Any]:
    return {"columns": list(names)}


def document(name: str, content: str | bytes, told: str, line: int | None = 1, **more: Any) -> Damaged:
    raw = content.encode() if isinstance(content, str) else content
    return Damaged(name, raw, told, line, {"format": "json", **more.pop("changes", {})}, **more)


def packed(
    name: str, make: Callable[[Path], None], told: str, line: int | None = None, **more: Any
) -> Damaged:
    return Damaged(name, make, told, line, {"format": "parquet", **more.pop("changes", {})}, **more)


def xml(name: str, content: str | bytes, told: str, line: int, left: int | None = None) -> Damaged:
    raw = content.encode() if isinstance(content, str) else content
    changes = {"format": "copa-xml", "fields": COPA, "relation": "question"}
    return Damaged(name, raw, told, line, changes, left=left)


def winograd(name: str, tokens: str, pronoun: str, candidates: str) -> Damaged:
    content = "\t".join(["en", "s", "1", "A b.", tokens, pronoun, candidates]).encode()
    return Damaged(name, content, "tokens, pronoun or candidates are not", 1, {"format": "xwinograd"})


def beside(
    name: str, labels: bytes, told: str, line: int | None, file: str = "labels.lst", **more: Any
) -> Damaged:
    """Three rows that are as they should be, and a label file that is not."""
    more = {"at_labels": True, "labels": (file, labels), **more}
    return Damaged(name, jsonl(*map(good, (1, 2, 3))), told, line, **more)


def by_id(name: str, labels: bytes, told: str, line: int | None, **more: Any) -> Damaged:
    return beside(name, labels, told, line, "labels.csv", **more)


def item(number: int, asks: str = "cause", inside: str = "<a1>b</a1><a2>c</a2>") -> str:
    return f'<item id="{number}" asks-for="{asks}" most-plausible-alternative="1"><p>a</p>{inside}</item>\n'


def rows_of(*rows: Row) -> Callable[[Path], None]:
    return lambda path: parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


def columns_of(**columns: Any) -> Callable[[Path], None]:
    return lambda path: parquet.write_table(pyarrow.table(columns), path)


def two_names(path: Path) -> None:
    columns = [pyarrow.array([value]) for value in ("x1", "p", "a", "b", 0, "q")]
    parquet.write_table(pyarrow.Table.from_arrays(columns, names=[*HEAD, "premise"]), path)


def cut(path: Path) -> None:
    rows_of(*map(good, range(500)))(path)
    path.write_bytes(path.read_bytes()[:-600])


def flipped(path: Path) -> None:
    """The pages are damaged, the footer is not."""
    rows_of(*map(good, range(500)))(path)
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(bytes(content))


def bomb(path: Path) -> None:
    """A text of a megabyte that a hundred thousand rows share: 100 GB in less than a megabyte."""
    text = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 10**5, pyarrow.int32()), ["x" * 10**6])
    parquet.write_table(pyarrow.table({"id": range(10**5), "premise": text}), path, store_schema=False)


def nested_bomb(path: Path) -> None:
    """The same within the list of a single row."""
    text = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 10**5, pyarrow.int32()), ["x" * 10**6])
    lists = pyarrow.ListArray.from_arrays(pyarrow.array([0, 10**5], pyarrow.int32()), text)
    parquet.write_table(pyarrow.table({"id": ["x1"], "list": lists}), path, store_schema=False)


def zeros(path: Path) -> None:
    """Texts of zeros, packed: the pages themselves unpack to far more than the file."""
    texts = pyarrow.array([f"{n}" + "0" * 2_500_000 for n in range(100)])
    parquet.write_table(pyarrow.table({"premise": texts}), path, compression="zstd", use_dictionary=False)


def many_rows(path: Path) -> None:
    """Three million rows of nothing."""
    parquet.write_table(pyarrow.table({"premise": pyarrow.nulls(3 * 10**6, pyarrow.string())}), path)


def folder(path: Path) -> None:
    path.mkdir()


def loop(path: Path) -> None:
    path.symlink_to(path)


def unreadable(path: Path) -> None:
    path.write_bytes(jsonl(good(1)))
    path.chmod(0)


class _Thing:
    """What a pickle calls when it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (99,)


TEXT = jsonl(good(1), good(2), good(3)).decode()
FRENCH = jsonl(good(1), good(2, premise="Le café a fermé."), good(3)).decode()
ONE = TEXT.split("\n")[0]
TABLE = table(*map(cells, (1, 2, 3)))
HTML = b"<!DOCTYPE html>\n<html><head><title>404</title></head><body>Not found</body></html>\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
ITEMS = f"<copa-corpus>\n{item(1)}{item(2)}</copa-corpus>\n"
DIGITS = '"label": ' + "7" * 5000

ROWS = [
    row("label out of range", "label 2 is out of range for 2 choices", label=2),
    row("label negative", "label -1 is out of range", label=-1),
    row("label a float", "label 1.0 is no whole number", label=1.0),
    row("label true", "label True is no whole number", label=True),
    row("label null", "label None is no whole number", label=None),
    row("label a word", "label 'yes' is no whole number", label="yes"),
    row("label blank", "label '' is no whole number", label=""),
    row("label a list", "label [0] is no whole number", label=[0]),
    row("label NaN", "label nan is no whole number", label=float("nan")),
    row("label infinite", "label inf is no whole number", label=float("inf")),
    row("label of 4,000 digits", "is out of range", label=int("7" * 4000)),
    row("label text of 5,000 digits", "is no whole number", label="7" * 5000),
    row("label with an underscore", "label '0_1' is no whole number", label="0_1"),
    line("label of 5,000 digits", TEXT.split("\n")[1].replace('"label": 0', DIGITS), "too many digits"),
    row("id repeated", "id 'x1' is also on line 1", id="x1"),
    row("id null", "field 'id' is NoneType", id=None),
    row("id blank", "field 'id' is empty", id="  "),
    row("id a list", "field 'id' is list", id=["x"]),
    row("id true", "field 'id' is bool", id=True),
    row("id without end", "field 'id' has 200,000 characters", id="x" * 200_000),
    row("id with a NUL", "field 'id' holds a NUL", id="x\0"),
    row("premise a number", "field 'premise' is not text but int", premise=5),
    row("premise NaN", "field 'premise' is not text but float", premise=float("nan")),
    row("premise blank", "field 'premise' is empty", premise=" \u3000"),
    row("premise with a NUL", "field 'premise' holds a NUL", premise="a\0b"),
    row("premise of 10 MB", "field 'premise' has 10,000,000 characters", premise="x" * 10**7),
    row("choice blank", "field 'choices' is empty", b=" "),
    row("choice null", "field 'choices' is not text but NoneType", b=None),
    row("choice nested", "field 'choices' is not text but dict", b={"text": "x"}),
    listed("no choices", "'list' is not a list of two or more choices", []),
    listed("one choice", "'list' is not a list of two or more choices", ["one"]),
    listed("10,000 choices", "10000 choices, more than 100", [str(n) for n in range(10_000)]),
    listed("choices in a text", "'list' is not a list", "It broke. / It sang."),
    listed("choices left blank", "1 choices where two or more", ["one", "", None], blank_choices=True),
    listed("choices as objects", "field 'choices' is not text but dict", [{"text": "a"}, {"text": "b"}]),
    Damaged(
        "a field is missing", jsonl(good(1), {"id": "x2", "premise": "p", "a": "q", "label": 0}, good(3)),
        "no field 'b'", left=2,
    ),
    Damaged(
        "the id is missing", jsonl(good(1), {k: v for k, v in good(2).items() if k != "id"}, good(3)),
        "no field 'id'", left=2,
    ),
    Damaged(
        "identical choices", jsonl(good(1), good(2, b="It broke."), good(3)), "two choices are 'It broke.'",
        changes={"equal_choices": "refuse"}, left=2,
    ),
    Damaged(
        "neither cause nor effect",
        jsonl(good(1, q="cause"), good(2, q="why?\nreally"), good(3, q="effect")), "'q' is 'why?\\nreally'",
        changes={"relation": "question", "fields": {**FIELDS, "question": "q"}}, left=2,
    ),
    Damaged(
        "two blanks", jsonl(good(1, premise="A _."), good(2, premise="_ and _"), good(3, premise="_ b.")),
        "2 blanks '_' where one belongs", changes={"phrasing": {"blank": "_"}}, left=2,
    ),
    Damaged(
        "label is no key", jsonl(*(good(n, k=["A", "B"], label=label) for n, label in enumerate("ACB"))),
        "label 'C' is none of the choices' keys", changes={"fields": KEYED}, left=2,
    ),
    Damaged(
        "keys are null", jsonl(good(1, k=["A", "B"], label="B"), good(2, k=None, label="B")),
        "'k' is no list of keys", changes={"fields": KEYED}, left=1,
    ),
    Damaged(
        "keys that are equal", jsonl(good(1, k=["A", "B"], label="B"), good(2, k=["B", "B"], label="B")),
        "label 'B' is the key of two choices", changes={"fields": KEYED}, left=1,
    ),
    Damaged(
        "label is no choice", jsonl(good(1, label="It sang."), good(2, label="It flew.")),
        "label 'It flew.' is the text of no choice",
        changes={"fields": {**FIELDS, "label_kind": "text"}}, left=1,
    ),
    Damaged(
        "wrong language tag", jsonl(good(1, lang="de"), good(2, lang="fr")), "holds no examples", None,
        changes={"fields": {**FIELDS, "where": {"lang": "{language}"}}},
    ),
    Damaged(
        "a field that tells the language is missing", jsonl(good(1, lang="en"), good(2)), "no field 'lang'",
        changes={"fields": {**FIELDS, "where": {"lang": "{language}"}}}, left=1,
    ),
]  # fmt: skip

LINES = [
    line("truncated line", '{"id": "x2", "premise": "The gl', "JSON (Unterminated string at column 25)"),
    line("garbage", "?!", "the line is not JSON (Expecting value at column 1)"),
    line("10 MB of garbage", "x" * 10**7, "the line is not JSON"),
    line("single quotes", "{'id': 'x2'}", "the line is not JSON"),
    line("a list where an object belongs", '["x2"]', "the line is JSON, but not an object"),
    line("a number where an object belongs", "NaN", "the line is JSON, but not an object"),
    line("two objects on a line", "{} {}", "the line is not JSON (Extra data"),
    line("100,000 brackets", "[" * 10**5 + "]" * 10**5, "nested too deeply"),
    line("100,000 objects", '{"a":' * 10**5 + "1" + "}" * 10**5, "nested too deeply"),
    line("Latin-1", FRENCH.split("\n")[1].encode("latin-1"), "the line is not UTF-8 text"),
    line("half a surrogate pair", '{"id": "x2", "premise": "\\ud83d"}', "half a surrogate pair"),
    line("NUL bytes", "{\0}", "NUL byte"),
    line("control character", '{"id": "a\x07"}', "(Invalid control character at column 10)"),
    line("byte order mark in the middle", "\ufeff" + TEXT.split("\n")[1], "byte order mark in the middle"),
    Damaged("empty", b"", "holds no examples", None),
    Damaged("only blank lines", b"\n \r\n\t\n", "holds no examples", None),
    Damaged("UTF-16 with a mark", TEXT.encode("utf-16"), "the file is UTF-16", None),
    Damaged("UTF-16 without a mark", TEXT.encode("utf-16-le"), "NUL byte", 1),
    Damaged("UTF-32", TEXT.encode("utf-32"), "the file is UTF-16", None),
    Damaged("Shift-JIS", ONE.replace("glass", "ガラス").encode("shift-jis"), "not UTF-8", 1),
    Damaged("cp1256", ONE.replace("glass", "الزجاج").encode("cp1256"), "not UTF-8", 1),
    Damaged("gzip under a plain name", gzip.compress(TEXT.encode()), "packed (gzip)", None),
    Damaged("zip under a plain name", b"PK\x03\x04" + bytes(50), "packed (zip)", None),
    Damaged("a pickle", pickle.dumps(_Thing()), "perhaps a pickle", None),
    Damaged("a web page", HTML, "a web page", None),
    Damaged("a pointer of Git LFS", POINTER, "a pointer of Git LFS", None),
    Damaged("Parquet as JSON lines", rows_of(good(1)), "the file is Parquet", None),
    Damaged("JSON over several lines", json.dumps(good(1), indent=1).encode(), "the line is not JSON", 1),
    Damaged("CSV as JSON lines", TABLE, "the line is not JSON", 1),
    Damaged("a folder", folder, "this is a folder", None),
    Damaged("no file", lambda path: None, "there is no such file", None),
    Damaged("broken link", lambda path: path.symlink_to("nowhere"), "leads nowhere: nowhere", None),
    Damaged("links in a circle", loop, "the link leads nowhere", None),
    Damaged("a pipe", lambda path: os.mkfifo(path), "not a plain file", None),
    Damaged("unreadable", unreadable, "cannot read the file", None),
]  # fmt: skip

TABLES = [
    csv("truncated in a quoted field", TABLE + b'x4,"The glass', "broken quoting", 5),
    csv("a quote too many", table(cells(1), cells(2, premise='"a"b'), cells(3)), "broken quoting"),
    csv("a field too few", table(cells(1), cells(2)[:-1], cells(3)), "4 fields where 5 belong", left=2),
    csv("a field too many", table(cells(1), [*cells(2), "x"], cells(3)), "6 fields where 5 belong", left=2),
    csv("a comma at the end", table(cells(1), [*cells(2), ""], cells(3)), "6 fields where 5 belong", left=2),
    csv("ragged", table(cells(1), cells(2)[:2], ["x"], cells(4)), "2 fields where 5", left=2, skipped=2),
    csv("unquoted commas", table(cells(1), cells(2, a="It broke, loudly."), cells(3)), "6 fields", left=2),
    csv("two columns of a name", b"id,premise,premise,a,b,label\n", "two columns are named 'premise'", 1),
    csv("two columns without a name", b",,premise,a,b,label\n", "two columns are named ''", 1),
    csv("a column is missing", b"id,premise,a,b\nx1,p,a,b\n", "no field 'label'", 2),
    csv("head only", table(), "holds no examples", None),
    csv("no head", TABLE.split(b"\n", 1)[1], "no field 'id'", 2),
    csv("the head again", table(cells(1), HEAD, cells(3)), "repeats the names of the columns", left=2),
    csv("semicolons declared as commas", table(cells(1), by=";"), "no field 'id'", 2),
    csv("commas declared as semicolons", TABLE, "no field 'id'", 2, format="csv-semicolon"),
    csv("Latin-1 in a row", TABLE.replace(b"fell 2", b"fell \xe9"), "not UTF-8", left=2),
    csv("UTF-16 table without a mark", TABLE.decode().encode("utf-16-le"), "NUL byte", 1),
    csv("a NUL in a row", TABLE.replace(b"fell 2", b"fell \0"), "NUL byte", left=2),
    csv("mark in the middle of a table", TABLE.replace(b"x2", b"\xef\xbb\xbfx2"), "byte order mark", left=2),
    csv("a web page as a table", HTML, "a web page", None),
    csv("a pointer as a table", POINTER, "a pointer of Git LFS", None),
    csv("a pickle as a table", pickle.dumps([1]), "perhaps a pickle", None),
    csv("a field of 10 MB", table(cells(1), cells(2, a="x" * 10**7), cells(3)), "10,000,000 char", left=2),
    csv("float labels", table(cells(1), cells(2, label="1.0"), cells(3)), "label '1.0' is no whole", left=2),
    tsv("tabs in a text", table(cells(1), cells(2, a="a\tb"), cells(3), by="\t"), "6 fields", 3, left=2),
    tsv("quoted cells, not declared", b'id\tpremise\ta\nx1\t"a\nb"\tc\td\t0\n', "2 fields", 2),
    csv("columns that the file names", TABLE, "repeats the names", 1, changes=columns(*HEAD), left=3),
    csv("too few columns declared", TABLE, "5 fields where 4", 1, changes=columns(*HEAD[1:])),
    csv("columns in the wrong order", TABLE, "no whole number", 1, changes=columns(*HEAD[::-1])),
    csv("old line ends, ragged", TABLE.replace(b"\n", b"\r").replace(b"2.,", b"2."), "4 fields", left=2),
]  # fmt: skip

DOCUMENTS = [
    document("truncated list", "[\n" + TEXT.replace("\n", ",\n"), "the list does not end", 5),
    document("truncated in an object", "[\n" + TEXT.replace("}\n", "},\n")[:-30], "(Expecting property", 4),
    document("a list and something else", f"[{ONE}]\n}}", "something follows the list", 2),
    document("two lists", f"[{ONE}]\n[{ONE}]", "something follows the list", 2),
    document("objects and a bracket", TEXT + "]", "not JSON (Expecting value)", 4),
    document("a word", "hello", "not JSON (Expecting value)"),
    document("numbers", "[1, 2]", "the line is JSON, but not an object"),
    document("NaN in a list", f"[{ONE},\nNaN]", "not an object", 2, left=1),
    document("100,000 open brackets", "[" * 10**5, "nested too deeply"),
    document("100,000 open objects", '{"a":' * 10**5, "nested too deeply"),
    document("number of 5,000 digits", "[" + "7" * 5000 + "]", "too many digits"),
    document("lists of unequal length", '[["id", "a", "b"],\n["x1"]]', "1 fields where 3", 2),
    document("a head with a name twice", '[["id", "id"],\n["x1", "x2"]]', "two columns are named 'id'"),
    document("an error of a service", '{"error": "not found"}', "no field 'id'"),
    document("a dialogue that is none", '[["text", [], "d1"]]', "no dialogue", changes={"format": "dream"}),
    document("objects for dialogues", '[{"a": 1}]', "no dialogue", changes={"format": "dream"}),
    winograd("Winograd cells that are none", "[]", "{}", "{}"),
    winograd("Winograd candidates as objects", '["A"]', '["A", [0, 1]]', '[{"a": 1}]'),
    winograd("Winograd cells too deep", "[" * 10**5, "[]", "[]"),
    xml("truncated XML", ITEMS[:-40], "the file is not XML", 3),
    xml("XML with entities", '<!DOCTYPE x [\n<!ENTITY a "aaaa">]>\n' + ITEMS, "declares the entity 'a'", 2),
    xml("XML in Latin-1", ITEMS.replace("<p>a", "<p>é").encode("latin-1"), "not UTF-8", 2),
    xml("an item without a choice", f"<c>\n{item(1)}{item(2, inside='')}</c>", "no field 'a1'", 3, 1),
    xml("an item with a choice twice", f"<c>\n{item(1, inside='<a1/><a1>c</a1>')}</c>", "'a1' twice", 2),
    xml("an item that asks for nothing", f"<c>\n{item(1)}{item(2, asks='x')}</c>", "'asks-for' is 'x'", 3, 1),
]  # fmt: skip

PACKED = [
    packed("truncated Parquet", cut, "the Parquet file is damaged"),
    packed("Parquet with damaged pages", flipped, "the Parquet file is damaged"),
    packed("JSON as Parquet", lambda path: path.write_bytes(TEXT.encode()) and None, "is not Parquet"),
    packed("empty Parquet", lambda path: path.write_bytes(b"") and None, "is not Parquet"),
    packed("Parquet without rows", columns_of(id=pyarrow.array([], "string")), "holds no examples"),
    packed("Parquet with a column twice", two_names, "two columns are named 'premise'"),
    packed("Parquet with numbers", rows_of(good(1, premise=5)), "field 'premise' is not text but int", 1),
    packed("Parquet with bytes", rows_of(good(1, premise=b"p")), "field 'premise' is not text but bytes", 1),
    packed("Parquet with objects", rows_of(good(1, a={"x": "y"})), "field 'choices' is not text but dict", 1),
    packed("Parquet with nulls", rows_of(good(1), good(2, b=None)), "not text but NoneType", 2, left=1),
    packed("Parquet with float labels", rows_of(good(1, label=0.0)), "label 0.0 is no whole number", 1),
    packed("Parquet that unpacks to 100 GB", bomb, "unpacks to"),
    packed("Parquet with a row of 100 GB", nested_bomb, "unpacks to", changes={"fields": LISTED}),
    packed("Parquet with packed zeros", zeros, "unpacks to"),
    packed("Parquet with rows of nothing", many_rows, "unpacks to"),
]  # fmt: skip

BESIDE = [
    beside("too few labels", b"0\n1\n", "no label for this row", 3, at_labels=False),
    beside("too many labels", b"0\n1\n1\n0\n", "4 labels for 3 rows", None),
    beside("no labels", b"", "no label for this row", 1, at_labels=False),
    beside("a blank label", b"0\n\n1\n", "no label for this row", 3, at_labels=False),
    beside("a label file with words", b"0\nx\n1\n", "label 'x' is no whole", 2, left=2),
    beside("labels that are not UTF-8", b"0\n\xff\n1\n", "not UTF-8", 2),
    beside("labels that are a web page", HTML, "a web page", None),
    by_id("labels of other rows", b"x1,0\nx9,0\nx3,1\n", "no label for id 'x2'", 2, at_labels=False, left=2),
    by_id("a label by id out of range", b"x1,0\nx2,5\nx3,1\n", "label '5' is out of range", 2, left=2),
    by_id("an id twice among labels", b"x1,0\nx1,1\nx2,0\nx3,0\n", "id 'x1' is also on line 1", 2),
    by_id("more labels than ids", b"x1,0\nx2,1\nx3,0\nx4,0\n", "4 labels for 3 rows", None),
    by_id("labels with a head", b"id,label\nx1,0\nx2,1\nx3,0\n", "repeats the names", 1),
    by_id("labels of three fields", b"x1,0,a\n", "3 fields where 2", 1),
]

CASES = [*ROWS, *LINES, *TABLES, *DOCUMENTS, *PACKED, *BESIDE]
