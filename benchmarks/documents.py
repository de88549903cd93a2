"""YAML documents from users: read safely, checked against a schema, with messages that say what to do."""

from __future__ import annotations

import math
import os
import re
from functools import cache
from pathlib import Path
from typing import Any, Iterable

import yaml

from benchmarks.errors import InputError, did_you_mean, one_line


def load_yaml(path: str | os.PathLike) -> dict[str, Any]:
    """Read a YAML mapping; a missing or malformed file is an :class:`InputError` that names file and line."""
    path = Path(path)
    try:
        with open(path, encoding="utf-8") as stream:
            content = yaml.load(stream, Loader=_UniqueKeyLoader)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: a folder, not a file; name the YAML file in it") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        raise InputError(f"{path}:{line} not valid YAML ({one_line(problem)}); correct the line") from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply; flatten it") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not a mapping of keys; see config/README.md")
    _check_plain(content, path)
    return content


def _check_plain(content: Any, path: Path, limit: int = 1_000_000) -> None:
    """Refuse what aliases can make of a small file: a structure that contains itself, or one of exploding size."""
    stack, visited = [(content, 1)], 0
    while stack:
        value, depth = stack.pop()
        visited += 1
        if depth > 50 or visited > limit:
            raise InputError(f"{path}: aliases (&, *) make it endless or huge; write the values out")
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise InputError(f"{path}: key {key!r} is no text; put it in quotes or rename it")
            stack += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list):
            stack += [(item, depth + 1) for item in value]


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML, and a key given twice is an error (plain YAML silently takes the last)."""

    def construct_mapping(self, node, deep=False):
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float, bool, type(None))):
                raise yaml.constructor.ConstructorError(None, None, "a key that is no plain text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


@cache
def _validator(schema: Path) -> Any:
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def whole_pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterable[ValidationError]:
        # Python's $ also matches before a line break at the end, which no name of ours has.
        if isinstance(instance, str) and (instance.endswith("\n") or not re.search(pattern, instance)):
            yield ValidationError(f"{instance!r} does not match {pattern!r}")

    # JSON Schema takes 2.0 for a whole number; Python's range() does not.
    types = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    return extend(Draft202012Validator, {"pattern": whole_pattern}, type_checker=types)(load_yaml(schema))


def schema_problems(content: Any, schema: Path, where: str) -> list[str]:
    """Problems of `content` under a JSON schema (a YAML file), one line each: place, key, value, remedy.

    A number that is not finite is a problem under every schema: it passes all bounds and is lost in JSON.
    """
    if lines := [one_line(f"{where}: {_key_path(path)}: {text}") for path, text in _not_finite(content)]:
        return lines
    for error in sorted(
        _validator(schema).iter_errors(content), key=lambda item: [str(part) for part in item.absolute_path]
    ):
        lines += [one_line(line) for line in _explain(error, where)]
    return lines


def _not_finite(value: Any, path: tuple[Any, ...] = ()) -> Iterable[tuple[tuple[Any, ...], str]]:
    """Path and problem of every number that is not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, f"{value} is no finite number; give one"
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _not_finite(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _not_finite(item, (*path, index))


def _explain(error: Any, where: str) -> Iterable[str]:
    key = _key_path(error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.schema.get("properties"), dict):
        known = error.schema["properties"]
        for name in error.instance:
            if name not in known:
                full = f"{key}.{name}" if key else str(name)
                yield f"{where}: {full}: unknown key{did_you_mean(name, known)}"
        return
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        yield f"{where}: {f'{key}.' if key else ''}{missing[0]}: missing; add it (config/README.md says what it means)"
        return
    if error.validator == "oneOf" and error.context:
        kind = {str: "string", dict: "object", list: "array"}.get(type(error.instance), "")
        closer = [item for item in error.context if item.validator not in ("type", "const")]
        if closer and kind in ("object", "array"):
            for item in closer[:3]:
                yield from _explain(item, where)
            return
    if "propertyNames" in error.absolute_schema_path:
        yield f"{where}: {error.instance}: not a usable name; use lower-case letters, digits, hyphens or underscores, at most 60"
        return
    value = _short(error.instance)
    yield f"{where}: {key or 'whole file'}: {value} {_expectation(error)}"


def _key_path(path: Iterable[Any]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _expectation(error: Any) -> str:
    rule, wanted = error.validator, error.validator_value
    if rule == "minimum":
        return f"is below {wanted}; give at least {wanted}"
    if rule == "maximum":
        return f"is above {wanted}; give at most {wanted}"
    if rule == "exclusiveMinimum":
        return f"is not above {wanted}; give a larger value"
    if rule == "type":
        names = {
            "object": "a mapping",
            "array": "a list",
            "string": "text",
            "integer": "a whole number",
            "number": "a number",
            "boolean": "true or false",
            "null": "null",
        }
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return f"is not {' or '.join(names[kind] for kind in kinds)}; change it"
    if rule == "enum":
        hint = did_you_mean(str(error.instance), map(str, wanted))
        return f"is none of {', '.join(map(str, wanted))}{hint if 'did you mean' in hint else ''}; give one of them"
    if rule == "pattern":
        return f"does not match {wanted}; use lower-case letters, digits and underscores (hyphens in model variants)"
    if rule == "minItems":
        return "is empty; list at least one"
    if rule == "uniqueItems":
        return "lists a value twice; remove one"
    if rule == "not":
        return "is a reserved name; choose another"
    if rule == "oneOf":
        options = [item.get("const", item.get("type", "a mapping")) for item in wanted]
        return f"is not of an accepted form ({' or '.join(map(str, options))}); see config/README.md"
    return f"is not accepted ({error.message}); see config/README.md"
