"""Parse untrusted text, JSON, YAML, literals and tensors, with limits and one-line errors.

Depth, digits and sizes are limited before a value is built. Functions whose names end in ``_value`` raise
``ValueError`` (or ``yaml.YAMLError``); the others raise :class:`~metaxcr.errors.UserError`.
"""

import ast
import errno
import json
import math
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from metaxcr.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 2 * 10**9  # of a file, unpacked
DEPTH = 100  # of nested lists and mappings; real files have less than ten
DIGITS = 400  # of a number: the largest floating-point number has 309
NODES = 10**6  # of a YAML document with its aliases expanded
AGAIN = "repair the file, or fetch it again"
# A JSON string, or a bracket outside of strings.
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_YAML = "tag:yaml.org,2002:"
_TAGS = {f"{_YAML}{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}


def lines_of_text(text: str) -> list[str]:
    """Split a text at line feeds only, as JSON lines are; the last one ends the last line.

    ``str.splitlines`` also splits at U+2028, U+0085, form feeds and others, which occur inside texts. A
    carriage return before the line feed stays: JSON treats it as white space.
    """
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def check_file(path: Path, fix: str | None = None) -> None:
    """Refuse a missing file (message ``fix``), a folder or device, and a file that is too large."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise file_error(error, path, fix) from error
    if not path.is_file():
        what = "this is a folder, not a file" if path.is_dir() else "this is not a plain file"
        raise UserError(what, str(path), "name the data file itself")
    if status.st_size > MAX_BYTES:
        raise UserError(f"the file has more than {MAX_BYTES:,} bytes", str(path), "split it")


def file_error(error: Exception, path: Path | str, fix: str | None = None) -> UserError:
    """Turn an ``OSError``, or the ``ValueError`` of an impossible name, into a message.

    ``fix`` is for a missing file.
    """
    place = str(path)
    place = place if len(place) <= 200 else f"{place[:120]}...{place[-60:]}"
    what, way = f"cannot read the file: {getattr(error, 'strerror', None) or error}", "check the name"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        what, way = _broken_link(path) or "there is no such file", fix or way
    elif getattr(error, "errno", None) == errno.ELOOP:
        what = _broken_link(path) or "its links form a circle"
    elif isinstance(error, PermissionError):
        way = "check its permissions"
    elif isinstance(error, IsADirectoryError):
        what, way = "this is a folder, not a file", "name the file itself"
    return UserError(what, place, way)


def _broken_link(path: Path | str) -> str:
    return f"the link leads nowhere: {os.readlink(path)}" if os.path.islink(path) else ""


def read_text(path: Path, fix: str | None = None) -> str:
    """Read a UTF-8 file; a byte order mark is dropped, line ends stay. ``fix`` is for a missing file."""
    check_file(path, fix)
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise file_error(error, path) from error
    return decode_text(content, path)


def decode_text(content: bytes, path: Path) -> str:
    """Decode the content of a UTF-8 file; an error names the line."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what, place = "the line is not UTF-8 text", f"{path}:{line}"
        raise UserError(what, place, "convert the file to UTF-8") from error


def json_value(text: str, decoder: json.JSONDecoder | None = None) -> Any:
    """Parse a JSON text; by default, numbers have at most :data:`DIGITS` digits.

    Raises:
        ValueError: Not JSON (``json.JSONDecodeError``), nested too deeply, too many digits, or half a
            surrogate pair.
    """
    if too_deep_at(text) >= 0:
        raise ValueError("it is nested too deeply")
    try:
        value = (decoder or _JSON).decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if "\\u" in text:
        check_characters(value)
    return value


def too_deep_at(text: str) -> int:
    """Position in a JSON text that is nested more than :data:`DEPTH` deep, or -1."""
    if text.count("[") + text.count("{") <= DEPTH:
        return -1
    depth = 0
    for found in _BRACKETS.finditer(text):
        depth += (found[0] in "[{") - (found[0] in "]}")
        if depth > DEPTH:
            return found.start()
    return -1


def check_characters(value: Any) -> None:
    """Refuse half a surrogate pair, which escapes can write but no file can hold.

    Raises:
        ValueError: A text of the value has one.
    """
    try:
        json.dumps(value, ensure_ascii=False, default=repr).encode()
    except UnicodeEncodeError:
        raise ValueError("half a surrogate pair (\\ud...)") from None


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError("a number has too many digits")
    return int(digits)


_JSON = json.JSONDecoder(parse_int=_whole)


def parse_json(text: str, where: str, fix: str = AGAIN) -> Any:
    """Parse a JSON text of the file ``where``; see :func:`json_value`. ``fix`` is for a damaged file."""
    try:
        return json_value(text)
    except json.JSONDecodeError as error:
        place = f"{where}:{error.lineno}" if "\n" in text.strip() else where
        raise UserError(f"not valid JSON: {error.msg} at column {error.colno}", place, fix) from error
    except ValueError as error:
        raise UserError(f"not valid JSON: {error}", where, fix) from error


def read_json(path: Path, fix: str = AGAIN) -> Any:
    """Read a JSON file; ``fix`` is for a missing or damaged one."""
    return parse_json(read_text(path, fix), str(path), fix)


def read_json_object(path: Path, fix: str = AGAIN) -> dict[str, Any]:
    """Read a JSON file that holds an object; see :func:`read_json`."""
    value = read_json(path, fix)
    if not isinstance(value, dict):
        raise UserError("this is JSON, but not an object", str(path), fix)
    return value


class _Loader(yaml.SafeLoader):
    """YAML for settings: only the values that JSON has; dates are texts.

    Depth and size are counted while nodes are composed, before a value is built. An alias counts each time it
    is used, because a few lines of aliases may expand to more than fits into memory.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open = 0
        self._sizes: dict[int, tuple[int, int]] = {}  # id of a node -> nodes in it, depth

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._open += 1
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if self._open > DEPTH:
            raise _mark("it is nested too deeply", event)
        node: Any = super().compose_node(parent, index)
        self._open -= 1
        if id(node) in self._sizes:
            return node
        if isinstance(event, yaml.AliasEvent):
            raise _mark("an alias is inside of what it repeats", event)
        if node.tag not in _TAGS:
            raise _mark(f"the tag {node.tag.removeprefix(_YAML)!r} is not allowed in settings", event)
        inner = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in inner for part in pair]
        sizes = [self._sizes[id(part)] for part in inner]
        size, depth = 1 + sum(s for s, _ in sizes), 1 + max((d for _, d in sizes), default=0)
        if size > NODES or depth > DEPTH:
            raise _mark("its aliases make it too large", event)
        self._sizes[id(node)] = size, depth
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode):
            if node.tag.removeprefix(_YAML) in ("int", "float") and len(node.value) > DIGITS:
                raise _mark("a number has too many digits", node)
            if any("\ud800" <= character <= "\udfff" for character in node.value):
                raise _mark("half a surrogate pair (\\ud...)", node)
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as error:  # of int(), float() or a table of words: the value does not fit its tag
            kind = node.tag.removeprefix(_YAML)
            raise _mark(f"this is not a value of the type {kind}", node) from error


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag.removeprefix(_YAML) not in ("timestamp", "value")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _mark(problem: str, at: Any) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, at.start_mark)


def yaml_value(text: str) -> Any:
    """Parse a YAML text.

    Raises:
        yaml.YAMLError: Invalid, nested too deeply, too large, or with a value that is not null, truth value,
            number, text, list or mapping.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        raise
    except Exception as error:  # the scanner does not expect some characters
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from error


def parse_yaml(text: str, where: str, *, what: str = "not valid YAML", lines: bool = True) -> Any:
    """Parse a YAML text of the file or option ``where``; see :func:`yaml_value`.

    ``what`` is the message; ``lines``: whether the line number is added to ``where``.
    """
    try:
        return yaml_value(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        place = f"{where}:{mark.line + 1}" if mark and lines else where
        raise UserError(what, place, " ".join(str(reason).split())) from error


def read_yaml(path: Path) -> Any:
    """Read a YAML file."""
    return parse_yaml(read_text(path), str(path))


class _Dumper(yaml.SafeDumper):
    """Quotes texts that PyYAML would not read back: it takes a bare U+0085 for a line end."""

    def represent_str(self, data: str) -> Any:
        style = '"' if any(character in data for character in "\x85\u2028\u2029\ufeff") else None
        return self.represent_scalar(f"{_YAML}str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def dump_yaml(value: Any, width: int = 80) -> str:
    """Write a value as YAML that :func:`yaml_value` reads back, in the order of its keys."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width))


def literal_value(text: str) -> Any:
    """Parse a Python literal, such as a list that ``str()`` wrote into a cell of a table.

    Raises:
        ValueError: Not a literal, or nested too deeply.
    """
    text = text.strip()
    if len(text) > 10**6 or sum(map(text.count, "([{")) > DEPTH * 100:
        raise ValueError("the literal is too long")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escape sequences
            value = ast.literal_eval(text)
        if "\\" in text:
            check_characters(value)
        return value
    except Exception as error:  # TypeError, MemoryError, RecursionError, SyntaxError and others
        raise ValueError(f"this is not a literal ({type(error).__name__})") from error


def digits_value(text: str) -> int | None:
    """The number that at most 18 decimal digits write; None for every other text.

    ``int`` refuses texts of thousands of digits, although ``isdecimal`` is true.
    """
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def number(
    value: Any, what: str, where: str, *, low: float = -math.inf, high: float = math.inf, whole: bool = False
) -> float:
    """Check that a value from the file ``where`` is a finite number within bounds, and return it.

    ``what`` is its name in the message; ``whole``: only whole numbers, such as 16 and 16.0.
    """
    valid = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300
    if not valid or not low <= value <= high or (whole and value != int(value)):
        shown = repr(value)[:40] if not isinstance(value, int) or abs(value) < 10**40 else "a huge number"
        kind = "a whole number" if whole else "a number"
        above = f" from {low:g} to {high:g}" if math.isfinite(high) else ""
        raise UserError(f"{what} is {shown}, not {kind}{above}", where, AGAIN)
    return int(value) if whole else float(value)


def read_tensors(path: Path, fix: str = AGAIN) -> "dict[str, Tensor]":
    """Read a safetensors file; ``fix`` is for a missing or damaged one."""
    from safetensors.torch import load_file

    check_file(path, fix)
    try:
        return load_file(path)
    except Exception as error:  # which exceptions a damaged file raises depends on the version
        raise tensors_error(error, path, fix) from error


def tensors_error(error: Exception, path: Path, fix: str, what: str = "the tensors") -> UserError:
    """Turn any error of a tensor library into a message with its first line."""
    first = (str(error).strip().split("\n") or [""])[0]
    return UserError(f"cannot read {what}: {first[:200] or type(error).__name__}", str(path), fix)


def read_pickled_tensors(path: Path, fix: str = AGAIN) -> "dict[str, Tensor]":
    """Read a dictionary of tensors that ``torch.save`` wrote; no other object is unpickled, no code is run.

    A file that unpacks to far more than its size, or has views larger than their storage, is refused.
    """
    import torch

    check_file(path, fix)
    size = path.stat().st_size
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                if sum(entry.file_size for entry in packed.infolist()) > 2 * size + 10**6:
                    raise UserError("the file unpacks to far more than its size", str(path), fix)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # protocols that are refused anyway
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error).lower():
            what = "the file holds more than tensors, such as code, which is not run"
            fix = "do not use it, or ask its author for a safetensors file"
            raise UserError(what, str(path), fix) from error
        raise tensors_error(error, path, fix) from error
    except Exception as error:  # IndexError, KeyError, AttributeError, EOFError, RuntimeError and others
        raise tensors_error(error, path, fix) from error
    if not isinstance(loaded, Mapping):
        raise UserError("the file is not a dictionary of tensors", str(path), fix)
    for name, tensor in loaded.items():  # a view may claim to be far larger than its storage
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise UserError("the file is not a dictionary of tensors", str(path), fix)
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise UserError(f"the tensor {name!r} is not a plain one", str(path), fix)
    return dict(loaded)
