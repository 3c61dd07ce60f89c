"""Domain values to JSON bytes and back, for what the stores keep as a whole (dossiers, declaration events).

Dataclasses become objects without their defaults, months "YYYY-MM", days ISO dates, enums their names: readable in
the store ten years from now, and tolerant of fields added with a default.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import date
from enum import Enum
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, Union, get_args, get_origin

from solidarite_server.domain.month import Month

_T = TypeVar("_T")


def dumps(value: Any) -> bytes:
    """Encode a dataclass; the same value always gives the same bytes."""
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def loads(kind: type[_T], data: bytes) -> _T:
    """Decode what `dumps` wrote for that dataclass; ValueError or KeyError when the bytes are not that."""
    return typing.cast(_T, _reader(typing.cast(Any, kind))(json.loads(data)))


def _plain(value: Any) -> Any:
    kind: Any = type(value)
    return _writer(kind)(value)


@cache
def _writer(kind: type) -> Callable[[Any], Any]:
    """A function that makes plain JSON from a value of `kind`: chosen once a class, not once a value."""
    if issubclass(kind, Month):
        return str
    if issubclass(kind, date):
        return kind.isoformat
    if issubclass(kind, Enum):
        return attrgetter("_name_")  # `name` goes through a descriptor written in Python
    if issubclass(kind, bytes):
        return kind.hex
    if is_dataclass(kind):
        return _object_writer([(f.name, _default_of(f)) for f in fields(kind)])
    if issubclass(kind, Mapping):
        return lambda value: {str(key): _plain(item) for key, item in value.items()}
    if issubclass(kind, (tuple, list)):
        return lambda value: [_plain(item) for item in value]
    return lambda value: value


def _object_writer(defaults: Sequence[tuple[str, Any]]) -> Callable[[Any], Any]:
    def write(value: Any) -> dict[str, Any]:
        found = {}
        for name, default in defaults:
            item = getattr(value, name)
            if item is not default and item != default:
                found[name] = _plain(item)
        return found

    return write


def _default_of(f: Field[Any]) -> Any:
    """What a field holds when nobody sets it; MISSING, which equals nothing, when somebody must."""
    return f.default if f.default_factory is MISSING else f.default_factory()


@cache
def _reader(kind: Any) -> Any:
    """A function that builds a value of `kind` from plain JSON."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        inner = _reader(next(a for a in arguments if a is not type(None)))
        return lambda data: None if data is None else inner(data)
    if origin is tuple:
        variadic = len(arguments) == 2 and arguments[1] is Ellipsis
        readers = [_reader(a) for a in arguments if a is not Ellipsis]
        if variadic:
            return lambda data: tuple(readers[0](item) for item in data)
        return lambda data: tuple(read(item) for read, item in zip(readers, data, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        key, item = (_reader(a) for a in arguments)
        return lambda data: {key(k): item(v) for k, v in data.items()}
    if kind is Month:
        return Month.parse
    if kind is date:
        return date.fromisoformat
    if kind is bytes:
        return bytes.fromhex
    if kind is int:
        return int
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind.__getitem__
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        readers_by_name = {f.name: _reader(hints[f.name]) for f in fields(kind)}
        build: Any = kind
        return lambda data: build(**{name: readers_by_name[name](item) for name, item in data.items()})
    return lambda data: data
