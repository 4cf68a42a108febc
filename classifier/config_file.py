"""YAML files a person edits, read so that every mistake is named by file, line and field.

Only the safe scalar types are built, nothing is ever constructed from a tag, and a field nobody asked for is
an error: a misspelt price must stop the start, not silently cost money. What a file *means* is not known here.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from .errors import ConfigError

# The stubs leave its methods untyped.
_CONSTRUCTOR: Final[Any] = yaml.constructor.SafeConstructor

_Value = TypeVar("_Value")

_SCALARS: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
    "timestamp": "a date",
}


def find(name: str | Path, near: Path | None, folder: Path) -> Path | None:
    """Find a file by its path, from `near` or from here, or a shipped one by its bare name."""
    for path in (folder / f"{name}.yaml", (near or Path()) / name):
        if path.is_file():
            return path
    return None


def shipped(folder: Path) -> tuple[str, ...]:
    """Return the names of the files that ship in a folder."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def read(path: Path) -> Section:
    """Parse one YAML file whose top level is a mapping."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ConfigError(path, line, "file", f"found {error.problem}; expected YAML. Mend the syntax.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(path, None, "file", "found bytes that are not UTF-8 text; expected YAML.") from error
    return Section(path, "", _mapping(path, "file", node))


def digest(*values: object) -> str:
    """Return twelve hex digits that change when the content does, and not with comments or layout."""
    text = json.dumps(values, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class Section:
    """One mapping of a file, and where it stands; `base` supplies the fields it leaves out."""

    path: Path
    field: str
    node: yaml.MappingNode
    base: Section | None = None

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def line_of(self, name: str) -> int:
        """Return the line of a field's value, or of the section when it lacks the field."""
        _, node = self._find(name) or (self, self.node)
        return int(node.start_mark.line) + 1

    def over(self, base: Section) -> Section:
        """Return this section with `base` behind it, field by field."""
        return Section(self.path, self.field, self.node, base)

    def own(self, name: str) -> bool:
        """Say whether the field stands in this section itself."""
        return any(key.value == name for key, _ in self.node.value)

    def names(self) -> tuple[str, ...]:
        """Return the names of this section's own fields."""
        return tuple(str(key.value) for key, _ in self.node.value)

    def error(self, name: str, problem: str) -> ConfigError:
        """Build the error for one field, or for the section itself when it lacks the field."""
        owner, node = self._find(name) or (self, self.node)
        return ConfigError(owner.path, int(node.start_mark.line) + 1, owner._full(name), problem)

    def allow(self, names: Collection[str]) -> None:
        """Refuse fields other than these, and fields written twice."""
        seen: set[str] = set()
        for key, _ in self.node.value:
            name, line = str(key.value), int(key.start_mark.line) + 1
            if name in seen:
                problem = "found the field twice; expected it once. Remove one of them."
                raise ConfigError(self.path, line, self._full(name), problem)
            if name not in names:
                import difflib  # for a mistake alone

                close = difflib.get_close_matches(name, names, n=1)
                hint = f"Did you mean {close[0]!r}?" if close else "Remove it."
                problem = f"found an unknown field; expected one of {', '.join(names)}. {hint}"
                raise ConfigError(self.path, line, self._full(name), problem)
            seen.add(name)

    def text(self, name: str, *, among: Collection[str] | None = None) -> str:
        owner, value = self._scalar(name, (str,), "text")
        if not value.strip():
            raise owner.error(name, "found empty text; expected some. Fill it in or remove the field.")
        if among is not None and value not in among:
            raise owner.error(name, f"found {value!r}; expected one of {', '.join(among)}. Use one of these.")
        return value

    def number(self, name: str, *, least: float = 0.0, most: float = math.inf) -> float:
        owner, value = self._scalar(name, (int, float), "a number")
        if not (math.isfinite(value) and least <= value <= most):
            span = f"from {least:g} to {most:g}" if math.isfinite(most) else f"of at least {least:g}"
            raise owner.error(name, f"found {value!r}; expected a number {span}. Correct it.")
        return float(value)

    def integer(self, name: str, *, least: int = 0) -> int:
        owner, value = self._scalar(name, (int,), "a whole number")
        if value < least:
            raise owner.error(name, f"found {value}; expected a whole number of at least {least}. Correct it.")
        return value

    def flag(self, name: str) -> bool:
        owner, node = self._get(name)
        value = _construct(node) if isinstance(node, yaml.ScalarNode) else None
        if not isinstance(value, bool):
            raise owner.error(name, f"found {_describe(node)}; expected true or false. Write one of them.")
        return value

    def day(self, name: str) -> date:
        _, value = self._scalar(name, (date,), "a date like 2026-11-22")
        return value

    def texts(self, name: str, *, among: Collection[str] | None = None) -> tuple[str, ...]:
        """Read a list of texts; one text alone counts as a list of one."""
        owner, node = self._get(name)
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found = []
        for item in items:
            value = _construct(item) if isinstance(item, yaml.ScalarNode) else None
            line = int(item.start_mark.line) + 1
            if not isinstance(value, str):
                problem = f"found {_describe(item)}; expected text. Write a name, in quotes if it looks like a number."
                raise ConfigError(owner.path, line, owner._full(name), problem)
            if among is not None and value not in among:
                problem = f"found {value!r}; expected one of {', '.join(among)}. Use one of these."
                raise ConfigError(owner.path, line, owner._full(name), problem)
            found.append(value)
        return tuple(found)

    def section(self, name: str) -> Section:
        owner, node = self._get(name)
        return Section(owner.path, owner._full(name), _mapping(owner.path, owner._full(name), node))

    def sections(self, name: str) -> Iterator[Section]:
        """Yield the mappings of a list."""
        owner, node = self._get(name)
        if not isinstance(node, yaml.SequenceNode):
            raise owner.error(name, f"found {_describe(node)}; expected a list. Start each entry with '- '.")
        for i, item in enumerate(node.value):
            field = f"{owner._full(name)}[{i}]"
            yield Section(owner.path, field, _mapping(owner.path, field, item))

    def _full(self, name: str) -> str:
        return f"{self.field}.{name}" if self.field else name

    def _find(self, name: str) -> tuple[Section, yaml.Node] | None:
        for key, node in self.node.value:
            if key.value == name:
                return self, node
        return self.base._find(name) if self.base else None

    def _get(self, name: str) -> tuple[Section, yaml.Node]:
        found = self._find(name)
        if found is None:
            raise self.error(name, "found no such field; expected it here. Add it.")
        return found

    def _scalar(self, name: str, types: tuple[type[_Value], ...], expected: str) -> tuple[Section, _Value]:
        owner, node = self._get(name)
        value = _construct(node) if isinstance(node, yaml.ScalarNode) else None
        # bool is an int to Python, and `yes` is a bool to YAML: neither is a number or a name here.
        if isinstance(value, bool) or not isinstance(value, types):
            raise owner.error(name, f"found {_describe(node)}; expected {expected}. Correct the value.")
        return owner, value


def _mapping(path: Path, field: str, node: yaml.Node | None) -> yaml.MappingNode:
    if isinstance(node, yaml.MappingNode):
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                problem = f"found {_describe(key)} as a field name; expected text. Correct it."
                raise ConfigError(path, int(key.start_mark.line) + 1, field, problem)
        return node
    line = int(node.start_mark.line) + 1 if node else 1
    raise ConfigError(path, line, field, f"found {_describe(node)}; expected fields with values. Write 'field: value'.")


def _construct(node: yaml.ScalarNode) -> Any:
    # A scalar that says it is a date and is not (2026-13-45) raises ValueError: it is then no value at all.
    try:
        return _CONSTRUCTOR().construct_object(node)
    except (ValueError, yaml.YAMLError):
        return None


def _describe(node: yaml.Node | None) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "fields"
    if node is None:
        return "nothing"
    kind = _SCALARS.get(node.tag.rpartition(":")[2], "an unknown type")
    return f"{kind} ({str(node.value)[:40]!r})"
