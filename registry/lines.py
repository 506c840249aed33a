"""A YAML parser with the line of every value.

It knows what a models file needs: no tags, anchors or dates (a revision `2024-01-01` is text); every key is text,
and a repeated key is a problem.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from registry.errors import Problem, RegistryError

Where = tuple[str | int, ...]
"""A path in the document: keys and indices from the top, such as `("routes", "wan2.2", 0)`."""

MOST_BYTES = 1 << 20
MOST_DEPTH = 12

# libyaml's parser gives the same events in a tenth of the time, where PyYAML was built with it
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")


@dataclass
class Document:
    """The content of one file, with the line of every value and the problems.

    The document of `load_one` has no lines. `notes` are remarks on a file that can be served.
    """

    file: str
    data: object = None
    lines: dict[Where, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    _wrong: set[Where] = field(default_factory=set)

    def add_problem(self, where: Where, message: str) -> None:
        self._wrong.add(where)
        self.problems.append(self.problem(where, message))

    def has_problem(self, where: Where) -> bool:
        return where in self._wrong

    def problem(self, where: Where, message: str) -> Problem:
        """Return a problem at `where`, with its own line or its parent's."""
        known = where
        while known and known not in self.lines:
            known = known[:-1]
        return Problem(self.file, self.lines.get(known, 0), ".".join(map(str, where)), message)

    def error(self) -> RegistryError:
        return RegistryError(sorted(self.problems, key=lambda problem: problem.line))


def parse(text: str, path: Path) -> Document:
    """Return the document of `text` in `path`; raise `RegistryError` if not YAML."""
    try:
        return _parsed(text, path, LOADER)
    except RegistryError:
        return _parsed(text, path, yaml.SafeLoader)  # names the line and the reason better than libyaml


def _parsed(text: str, path: Path, loader: Any) -> Document:
    document = Document(str(path), lines={(): 1})
    try:
        document.data = _Builder(document, text, loader).build()
    except _Bad as error:
        raise _unreadable(path, str(error), error.line) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(part for part in (error.context, error.problem) if part)
        raise _unreadable(path, f"not YAML: {reason}", mark.line + 1 if mark else 0) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _unreadable(path, f"not YAML: {error.reason}", line) from error
    except (ValueError, OverflowError) as error:  # PyYAML lets out what it makes of an escape beyond Unicode
        raise _unreadable(path, f"not YAML: {error}") from error
    return document


def read_text(path: Path) -> str:
    """Return the text in `path`; raise `RegistryError` if unreadable or too long."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):  # a reload would wait for its writer, and with it others
                raise _unreadable(path, "cannot be read: it is a pipe, a models file must be a file")
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror or error}") from error
    if len(content) > MOST_BYTES:
        raise _unreadable(path, f"a models file may have up to {MOST_BYTES} bytes, this one has more")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, f"must be UTF-8, got byte 0x{content[error.start]:02x}", line) from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe opens at once, with or without a writer


def _unreadable(path: Path, message: str, line: int = 0) -> RegistryError:
    return RegistryError([Problem(str(path), line, "", message)])


class _Bad(Exception):
    """YAML of a kind that models files may not use."""

    def __init__(self, event: yaml.Event, message: str) -> None:
        super().__init__(message)
        self.line = _line(event)


class _Builder:
    """Builds plain values from the parser's events; no other objects of YAML."""

    def __init__(self, document: Document, text: str, loader: Any) -> None:
        self.document = document
        self.events: Iterator[yaml.Event] = yaml.parse(text, Loader=loader)

    def build(self) -> object:
        next(self.events)  # the stream starts
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        value = self._item(next(self.events), ())
        next(self.events)  # the document ends
        rest = next(self.events)
        if not isinstance(rest, yaml.StreamEndEvent):
            raise _Bad(rest, "expected one document, got a second")
        return value

    def _value(self, event: yaml.Event, where: Where) -> object:
        _refuse_extras(event)
        if len(where) > MOST_DEPTH:
            raise _Bad(event, "nested too deeply")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(where)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(where)
        assert isinstance(event, yaml.ScalarEvent)
        return _readable(event) if event.style else _plain(event.value)

    def _mapping(self, where: Where) -> dict[str, object]:
        mapping: dict[str, object] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            _refuse_extras(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise _Bad(event, "a key must be text")
            key, line = _readable(event), _line(event)
            first = self.document.lines.get((*where, key))
            self.document.lines[*where, key] = line
            if key in mapping:
                belongs = "" if where else ", where its entries belong"
                self.document.add_problem((*where, key), f"given twice: first in line {first}{belongs}")
            mapping[key] = self._value(next(self.events), (*where, key))
        return mapping

    def _sequence(self, where: Where) -> list[object]:
        items: list[object] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._item(event, (*where, len(items))))
        return items

    def _item(self, event: yaml.Event, where: Where) -> object:
        self.document.lines[where] = _line(event)
        return self._value(event, where)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _refuse_extras(event: yaml.Event) -> None:
    """Refuse tags and anchors: they make objects, or huge values of small files."""
    if getattr(event, "anchor", None) is not None:
        raise _Bad(event, "anchors and aliases (& and *) are not allowed")
    if getattr(event, "tag", None) is not None:
        raise _Bad(event, "tags (!) are not allowed")


def _readable(event: yaml.ScalarEvent) -> str:
    text: str = event.value
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        raise _Bad(event, "a character that is not text: \\0 or half a surrogate pair")
    return text


def _plain(text: str) -> object:
    """Return the value of an unquoted scalar: null, true, false, a number, or text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
