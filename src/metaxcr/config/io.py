"""Read configuration files: presets by ``extends``, overrides by ``--set``, one clear line a mistake."""

import difflib
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from metaxcr.config.schema import LOCAL_SETTINGS, SHIPPED, Config, Section
from metaxcr.errors import UserError
from metaxcr.parse import parse_yaml, read_yaml

Model = TypeVar("Model", bound=BaseModel)
ALGORITHM_VERSION = 2  # raised whenever the same settings and data may give other results


def shipped(folder: Path | None = None) -> list[str]:
    """Names of the configurations (or grids, by their folder) that come with the package."""
    return sorted(p.stem for p in (folder or SHIPPED).glob("*.yaml"))


def find(name: str, folder: Path | None = None, noun: str = "configuration") -> Path:
    """Return the file of a configuration (or grid) given by path or by shipped name.

    Raises:
        UserError: Neither exists; the message names the nearest shipped one.
    """
    path, shipped_path = Path(name), (folder or SHIPPED) / f"{name}.yaml"
    if os.path.isfile(path):
        return path
    if "/" not in name and os.path.isfile(shipped_path):
        return shipped_path
    near = difflib.get_close_matches(path.stem, shipped(folder), 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(f"no {noun} {name!r}", None, f"{hint}shipped are {', '.join(shipped(folder))}")


def load_config(name: str, overrides: Sequence[str] = ()) -> Config:
    """Load, merge and validate a configuration.

    Args:
        name: Path of a YAML file, or the name of a shipped one.
        overrides: ``"a.b=value"`` each; values are YAML.

    Returns:
        The validated settings.

    Raises:
        UserError: A file, key or value is wrong.
    """
    return validate(read_settings(name, overrides), str(find(name)))


def read_settings(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read and merge a configuration without checking its keys; arguments and errors as for load_config."""
    settings = _read(find(name), ())
    change(settings, [parse_override(override) for override in overrides])
    return settings


def validate(settings: dict[str, Any], where: str) -> Config:
    """Check settings against the schema; see :func:`validate_as`."""
    return validate_as(Config, settings, where)


def validate_as(model: type[Model], settings: dict[str, Any], where: str) -> Model:
    """Check settings against a schema.

    Args:
        model: The schema.
        settings: What a file says.
        where: The file.

    Raises:
        UserError: The first mistake, with the key and, for an unknown key, the nearest right one.
    """
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        # a misspelt required key is both missing and unknown: the latter says more
        first = next((e for e in error.errors() if e["type"] == "extra_forbidden"), error.errors()[0])
        if not first["loc"]:  # the settings do not fit together
            raise UserError(first["msg"].removeprefix("Value error, "), where) from error
        *section, last = first["loc"]
        key = _dotted(first["loc"])
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(last), _keys(model, section), 1, cutoff=0.5)
            fix = f"did you mean {_dotted([*section, near[0]])!r}?" if near else "remove it"
            raise UserError(f"unknown setting {key!r}", where, fix) from error
        fix = "see 'metaxcr configs ls' for examples"
        raise UserError(f"setting {key!r}: {first['msg']}", where, fix) from error


def _dotted(location: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in location)


def settings_of_results(config: Config) -> dict[str, Any]:
    """The settings by their first names, without :data:`metaxcr.config.schema.LOCAL_SETTINGS`."""
    settings = config.first_names()
    for key in LOCAL_SETTINGS:
        section, name = key.split(".")
        settings[section].pop(name)
    return settings


def config_hash(config: Config, data_checksums: dict[str, str], dtype: str | None = None) -> str:
    """Identity of a run's results: settings, data and algorithm, but not where or how it is carried out.

    Args:
        config: The settings.
        data_checksums: Of the files.
        dtype: Number format that ``encoder.dtype`` came to on the machine; None: the setting as it stands.
    """
    settings = settings_of_results(config)
    settings["encoder"]["dtype"] = dtype or config.encoder.dtype
    if settings["target"].pop("shots_file"):  # the ids are among the checksums, and their number is k
        settings["target"].pop("k")
    settings["adapters"]["language"] = sorted(config.adapters.language)  # checksums: among the data's
    text = json.dumps([ALGORITHM_VERSION, settings, data_checksums], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Keys whose values differ between two nested settings, as dotted paths."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [d for k in keys for d in differences(old.get(k), new.get(k), f"{prefix}.{k}".lstrip("."))]
    return [] if old == new else [prefix]


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    settings = read_yaml(path) or {}
    if not isinstance(settings, dict):
        raise UserError("a configuration is a mapping of settings", str(path), "see 'metaxcr configs cp'")
    settings = {section: _present_names(section, values) for section, values in settings.items()}
    parent = settings.pop("extends", None)
    if parent is None:
        return settings
    chain = (*seen, path.resolve())
    base = _parent(path, str(parent))
    if base.resolve() in chain:
        raise UserError("a configuration extends itself", str(path), "remove the circle in 'extends'")
    return _merge(_read(base, chain), settings)


def _parent(path: Path, name: str) -> Path:
    """What a file extends: a neighbour, by name or path, else a shipped configuration.

    A file that extends its own name means the shipped one: it is an edited copy.
    """
    for neighbour in (path.parent / f"{name}.yaml", path.parent / name):
        if os.path.isfile(neighbour) and (neighbour.resolve() != path.resolve() or name not in shipped()):
            return neighbour
    return find(name)


def _present_names(section: str, values: Any) -> Any:
    """A section's settings by the names of today: files of different age can then extend one another."""
    schema = _schema_of(section)
    if schema is None or not isinstance(values, dict):
        return values
    return schema.with_present_names(values, f"{section}.")


def _schema_of(section: str) -> type[Section] | None:
    """The schema of a section of the configuration; None for a name that is none."""
    field = Config.model_fields.get(section)
    schema = field.annotation if field else None
    return schema if isinstance(schema, type) and issubclass(schema, Section) else None


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for section, values in over.items():
        if isinstance(values, dict):
            for name in values:
                _drop_idle(merged, f"{section}.{name}", values[name])
    for key, value in over.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def override_setting(settings: dict[str, Any], override: str) -> None:
    """Change one of nested settings, as ``--set`` does; see :func:`parse_override`, :func:`put_setting`."""
    put_setting(settings, *parse_override(override))


def parse_override(override: str) -> tuple[str, Any]:
    """Split ``"a.b=value"`` into key and value, which is YAML.

    Raises:
        UserError: It cannot be read.
    """
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"cannot read the override {override!r}", "--set", "write --set section.key=value")
    return key, override_value(key, text)


def change(settings: dict[str, Any], changes: Iterable[tuple[str, Any]]) -> None:
    """Change some of the settings of a configuration, in place.

    Where a change selects another sampler, learner, kind of adapter or optimiser, settings of the former one
    that would have no effect are dropped. Those among the changes stay, and are refused as mistakes.

    Args:
        settings: Of a configuration.
        changes: Dotted keys with their values.
    """
    changes = list(changes)
    for key, value in changes:
        for name, selected in value.items() if isinstance(value, dict) else [(None, value)]:
            _drop_idle(settings, f"{key}.{name}" if name else key, selected)
    for key, value in changes:
        put_setting(settings, key, value)


def _drop_idle(settings: dict[str, Any], key: str, selected: Any) -> None:
    """If a key is a section's selector, replace the section by one without the settings that become idle."""
    section, _, name = key.partition(".")
    schema, values = _schema_of(section), settings.get(section)
    if schema is None or not isinstance(values, dict):
        return
    if name == schema.selector and isinstance(selected, str):
        idle = schema.idle(selected)
        settings[section] = {key: value for key, value in values.items() if key not in idle}


def override_value(key: str, text: str) -> Any:
    """Parse the value that ``--set`` gives a key.

    Raises:
        UserError: It is no value.
    """
    place = f"--set {key[:40]}={text[:40]}" + ("..." if text[40:] else "")
    return parse_yaml(text, place, what=f"cannot read the value of {key[:40]!r}", lines=False)


def put_setting(settings: dict[str, Any], key: str, value: Any) -> None:
    """Change one of nested settings; see :func:`override_setting`.

    Args:
        settings: Changed in place.
        key: ``"a.b"``.
        value: Of it.
    """
    first, _, rest = key.partition(".")
    if rest and (renamed := _present_names(first, {rest: value})) != {rest: value}:
        key = f"{first}.{next(iter(renamed))}"
    elif not rest:
        value = _present_names(first, value)
    *sections, last = key.split(".")
    for section in sections:
        inner = settings.get(section)
        if inner is None:  # absent, or switched off in what is extended
            inner = settings[section] = {}
        if not isinstance(inner, dict):
            raise UserError(f"{section!r} is a value, not a section", f"--set {key}=...")
        settings = inner
    settings[last] = value


def _keys(schema: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The known keys of the section at a location of the schema."""
    model: Any = schema
    for part in location:
        if part not in model.model_fields:  # the place in a list, or a name in a mapping
            continue
        annotation = model.model_fields[part].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)
