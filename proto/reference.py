"""The reference of the contract, written from its comments: docs/frontaux/contrat.md. Run by `generate.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

PACKAGE = ".solidarite.v1."
_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    _FIELD.TYPE_STRING: "string",
    _FIELD.TYPE_BYTES: "bytes",
    _FIELD.TYPE_BOOL: "bool",
    _FIELD.TYPE_INT32: "int32",
    _FIELD.TYPE_SINT32: "sint32",
    _FIELD.TYPE_UINT32: "uint32",
    _FIELD.TYPE_SINT64: "sint64",
    _FIELD.TYPE_UINT64: "uint64",
    _FIELD.TYPE_INT64: "int64",
    _FIELD.TYPE_DOUBLE: "double",
}
# Places of declarations in a FileDescriptorProto, and of fields and values in theirs.
_MESSAGES, _ENUMS, _SERVICES, _INSIDE = 4, 5, 6, 2

INTRODUCTION = """\
# Reference of the contract

Written from the comments of `proto/solidarite/v1/*.proto` by `python proto/generate.py`: change them there. RPCs with
an HTTP path answer JSON and gRPC-Web through [the gateway](README.md); the others are for payroll sources and agencies.
"""


def render(image: bytes) -> str:
    """The page, from a descriptor image with comments."""
    files = descriptor_pb2.FileDescriptorSet.FromString(image).file
    return "\n".join([INTRODUCTION, *(line for file in files if _ours(file) for line in _file(file))])


def _ours(file: descriptor_pb2.FileDescriptorProto) -> bool:
    return f".{file.package}." == PACKAGE


def _file(file: descriptor_pb2.FileDescriptorProto) -> Iterator[str]:
    comments = {tuple(place.path): " ".join(place.leading_comments.split()) for place in file.source_code_info.location}
    yield f"## {file.name.rpartition('/')[2]}\n"
    for index, service in enumerate(file.service):
        yield from _service(service, comments, (_SERVICES, index))
    for index, message in enumerate(file.message_type):
        yield from _message(message, comments, (_MESSAGES, index))
    for index, enum in enumerate(file.enum_type):
        yield from _enum(enum, comments, (_ENUMS, index))


def _service(service: Any, comments: dict[tuple[int, ...], str], path: tuple[int, ...]) -> Iterator[str]:
    yield f"### {service.name}\n\n{comments[path]}\n"
    for index, method in enumerate(service.method):
        request, response = (_link(name) for name in (method.input_type, method.output_type))
        streams = [f"{'stream of ' if on else ''}" for on in (method.client_streaming, method.server_streaming)]
        yield f"**{method.name}** — {streams[0]}{request} → {streams[1]}{response}"
        http = method.options.Extensions[annotations_pb2.http]
        verb = http.WhichOneof("pattern")
        if verb:
            yield f"<br>`{verb.upper()} {getattr(http, verb)}`"
        yield f"\n{comments[(*path, _INSIDE, index)]}\n"


def _message(message: Any, comments: dict[tuple[int, ...], str], path: tuple[int, ...]) -> Iterator[str]:
    yield f"### {message.name}\n\n{comments[path]}\n"
    if message.field:
        maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
        rows = [
            (f"`{field.name}`", _type(field, maps), _meaning(field.name, comments[(*path, _INSIDE, index)]))
            for index, field in enumerate(message.field)
        ]
        yield from _table(("field", "type", "meaning"), rows)


def _enum(enum: Any, comments: dict[tuple[int, ...], str], path: tuple[int, ...]) -> Iterator[str]:
    yield f"### {enum.name}\n\n{comments[path]}\n"
    rows = [
        (f"`{value.name}`", str(value.number), _meaning(value.name, comments[(*path, _INSIDE, index)]))
        for index, value in enumerate(enum.value)
    ]
    yield from _table(("value", "number", "meaning"), rows)


def _meaning(name: str, comment: str) -> str:
    """The comment without the name that it starts with: the name stands beside it."""
    return comment.removeprefix(name).removeprefix(":").strip()


def _type(field: Any, maps: dict[str, Any]) -> str:
    name = field.type_name.rpartition(".")[2]
    if name in maps:
        key, value = maps[name].field
        return f"map of {_TYPES[key.type]} to {_type(value, {})}"
    kind = _TYPES.get(field.type) or _link(field.type_name)
    if field.label == _FIELD.LABEL_REPEATED:
        return f"list of {kind}"
    return f"{kind}, optional" if field.proto3_optional else kind


def _link(type_name: str) -> str:
    name = type_name.rpartition(".")[2]
    return f"[{name}](#{name.lower()})" if type_name.startswith(PACKAGE) else type_name.removeprefix(".")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{' --- |' * len(header)}"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""
