"""Requests made from the descriptors of the contract: plausible ones, extreme ones, and mutated bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from solidarite.v1 import (
    campaign_pb2,
    declaration_pb2,
    entitlement_pb2,
    foyer_pb2,
    resource_record_pb2,
    simulation_pb2,
)

MODULES = (resource_record_pb2, foyer_pb2, declaration_pb2, entitlement_pb2, campaign_pb2, simulation_pb2)
METHODS: list[MethodDescriptor] = [
    method
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
LONG_WORK = {"RunCampaign", "RunControls", "GeneratePopulation", "CompareReform", "WatchDeclaration"}
"""What a request that happens to be right makes the server do for long: they get no plausible request here."""
_PLAUSIBLE_TEXT = {
    "nir": "2840575999101", "source_id": "etoile", "upload_id": "u", "numero_allocataire": "0000001",
    "request_id": "r", "personne": "demandeur", "declarant": "81234567800013", "line_id": "demandeur/2026-07/SALAIRE",
}  # fmt: skip
_NUMBERS = (0, 1, -1, 12, 13, 2_026, 9_999, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))


def new(descriptor: Descriptor) -> Message:
    return message_factory.GetMessageClass(descriptor)()


def is_repeated(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def plausible(descriptor: Descriptor, depth: int = 4) -> Message:
    """A message with every field filled as a caller might, the first branch of each choice."""
    message = new(descriptor)
    taken = set()
    for field in descriptor.fields:
        choice = field.containing_oneof
        if choice is not None and choice.name in taken:
            continue
        if choice is not None:
            taken.add(choice.name)
        if field.message_type is not None:
            if depth and not field.message_type.GetOptions().map_entry:
                part = plausible(field.message_type, depth - 1)
                if is_repeated(field):
                    getattr(message, field.name).append(part)
                else:
                    getattr(message, field.name).CopyFrom(part)
            continue
        value = _plausible_value(field)
        if is_repeated(field):
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    return message


def _plausible_value(field: FieldDescriptor) -> Any:
    if field.type == field.TYPE_STRING:
        return _PLAUSIBLE_TEXT.get(field.name, "a")
    if field.type == field.TYPE_BYTES:
        return bytes(range(1, 17))
    if field.type == field.TYPE_BOOL:
        return True
    return {"year": 2026, "month": 11, "day": 3}.get(field.name, 1)


def extremes(message: Message, path: str = "") -> Iterator[tuple[str, Message]]:
    """Copies of a message, each with one field missing or extreme, and the path of that field."""
    yield from _extremes(message, message, path)


def _extremes(root: Message, part: Any, path: str) -> Iterator[tuple[str, Message]]:
    for field in part.DESCRIPTOR.fields:
        here = f"{path}.{field.name}".lstrip(".")
        for value in _extreme_values(field):
            kept = new(part.DESCRIPTOR)
            kept.CopyFrom(part)
            try:
                if value is None:
                    part.ClearField(field.name)
                elif is_repeated(field):
                    part.ClearField(field.name)
                    getattr(part, field.name).extend(value if isinstance(value, list) else [value])
                else:
                    setattr(part, field.name, value)
                copy = new(root.DESCRIPTOR)
                copy.CopyFrom(root)
                yield f"{here}={value!r}"[:120], copy
            except (ValueError, TypeError):
                pass  # the wire cannot hold it
            finally:
                part.CopyFrom(kept)
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            parts = getattr(part, field.name) if is_repeated(field) else [getattr(part, field.name)]
            if is_repeated(field) or part.HasField(field.name):
                for child in list(parts)[:1]:
                    yield from _extremes(root, child, here)


def _extreme_values(field: FieldDescriptor) -> Iterator[Any]:
    yield None
    if field.type == field.TYPE_STRING:
        yield from ("", "\0", "é" * 300, "9" * 5_000, "../../etc", "2840575999101")
    elif field.type == field.TYPE_BYTES:
        yield from (b"", b"\0" * 16, b"\xff" * 17, bytes(5_000))
    elif field.type in (field.TYPE_DOUBLE, field.TYPE_FLOAT):
        yield from (float("nan"), float("inf"), -1.0, 1e308)
    elif field.type != field.TYPE_BOOL and field.message_type is None:
        yield from _NUMBERS
        yield from ([] if field.enum_type is None else [77])


def with_unknown_field(body: bytes) -> bytes:
    """The same message from a newer caller: field 1000, which this contract does not know."""
    return body + b"\xc2\x3e\x03abc"


def mutated(body: bytes, chance: random.Random) -> bytes:
    """One to four changes of bytes: flipped, cut, repeated, inserted, or a varint made huge."""
    data = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        kind = chance.randrange(5)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data[place:place] = data[place : place + chance.randrange(1, 40)]
        elif kind == 3:
            data[place:place] = chance.randbytes(chance.randrange(1, 8))
        else:
            data[place:place] = b"\xff" * 9 + b"\x01"
    return bytes(data)
