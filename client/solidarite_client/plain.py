"""The contract's messages as plain JSON that people can write: what `--json` prints and dossier files hold.

Field names are those of the contract. Months are `"2026-11"`, days `"2026-11-30"`, instants RFC 3339, enums their name
without its prefix (`"ALLOCATAIRE"`), amounts whole numbers of cents, identifiers hexadecimal. Fields of a message, and
optional ones, are left out when unset; all others are always there.

    >>> from solidarite.v1.foyer_pb2 import Logement
    >>> housing = from_plain({"debut": "2026-01", "statut": "LOCATAIRE"}, Logement())
    >>> to_plain(housing)
    {'debut': '2026-01', 'statut': 'LOCATAIRE', 'personnes_non_comptees': 0}
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from solidarite.v1.common_pb2 import Date
from solidarite.v1.common_pb2 import Month as MonthMessage

from solidarite_client.errors import JsonError
from solidarite_client.models import Month

_Message = TypeVar("_Message", bound=Message)

# The descriptors of the C implementation and those of the stubs do not agree on a type.
_Field = Any
_Enum = Any

_INTEGERS = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)


def to_plain(message: Message) -> Any:
    """Turn a message into dicts, lists, texts and numbers."""
    if isinstance(message, MonthMessage):
        return f"{message.year:04d}-{message.month:02d}"
    if isinstance(message, Date):
        return f"{message.year:04d}-{message.month:02d}-{message.day:02d}"
    if isinstance(message, Timestamp):
        return message.ToJsonString()
    return {
        field.name: _field_to_plain(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _field_to_plain(field: _Field, value: Any) -> Any:
    if _is_map(field):
        return {str(key): _value_to_plain(field.message_type.fields_by_name["value"], value[key]) for key in value}
    if field.is_repeated:
        return [_value_to_plain(field, item) for item in value]
    return _value_to_plain(field, value)


def _value_to_plain(field: _Field, value: Any) -> Any:
    if field.message_type is not None:
        return to_plain(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else short_name(field.enum_type, known.name)
    return value.hex() if isinstance(value, bytes) else value


def short_name(enum: _Enum, name: str) -> str:
    """A member's name without the prefix that the contract gives it.

    >>> from solidarite.v1.foyer_pb2 import Role
    >>> short_name(Role.DESCRIPTOR, "ROLE_ALLOCATAIRE")
    'ALLOCATAIRE'
    """
    return str(name.removeprefix(_prefix(enum)))


def _prefix(enum: _Enum) -> str:
    # The contract's lint gives every enum a zero value PREFIX_UNSPECIFIED.
    return str(enum.values_by_number[0].name.removesuffix("UNSPECIFIED"))


def from_plain(value: Any, message: _Message, path: str = "") -> _Message:
    """Fill a message from plain JSON; JsonError with the path of the first field that does not fit.

    What protobuf itself writes is read too: names in camelCase, months and days as objects, full names of enums.
    """
    if isinstance(message, MonthMessage | Date | Timestamp) and isinstance(value, str):
        _read_date(value, message, path)
        return message
    if not isinstance(value, dict):
        raise JsonError(path, "attendu : un objet JSON")
    fields = {name: field for field in message.DESCRIPTOR.fields for name in (field.name, field.json_name)}
    for name, item in value.items():
        field = fields.get(name)
        if field is None:
            raise JsonError(
                path, f"champ inconnu ; champs possibles : {', '.join(f.name for f in message.DESCRIPTOR.fields)}"
            )
        if item is not None:
            _read_field(item, message, field, f"{path}.{field.name}" if path else field.name)
    return message


def _read_field(value: Any, message: Message, field: _Field, path: str) -> None:
    if _is_map(field):
        _read_map(value, message, field, path)
    elif field.is_repeated:
        if not isinstance(value, list):
            raise JsonError(path, "attendu : une liste JSON")
        target = getattr(message, field.name)
        for index, item in enumerate(value):
            place = f"{path}[{index}]"
            if field.message_type is not None:
                from_plain(item, target.add(), place)
            else:
                target.append(_scalar(item, field, place))
    elif field.message_type is not None:
        inner = getattr(message, field.name)
        inner.SetInParent()
        from_plain(value, inner, path)
    else:
        try:
            setattr(message, field.name, _scalar(value, field, path))
        except (ValueError, TypeError):
            raise JsonError(path, "attendu : une valeur dans les limites de ce champ") from None


def _read_map(value: Any, message: Message, field: _Field, path: str) -> None:
    if not isinstance(value, dict):
        raise JsonError(path, "attendu : un objet JSON")
    for key, item in value.items():
        getattr(message, field.name)[key] = _scalar(item, field.message_type.fields_by_name["value"], path)


def _scalar(value: Any, field: _Field, path: str) -> Any:
    kind = field.cpp_type
    if field.enum_type is not None:
        return _enum_number(value, field.enum_type, path)
    if kind in _INTEGERS:
        # Protobuf's own JSON writes 64-bit numbers as texts.
        if isinstance(value, str) and value.removeprefix("-").isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            cents = " de centimes" if field.name.endswith("_cents") else ""
            raise JsonError(path, f"attendu : un nombre entier{cents}")
        return value
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        if not isinstance(value, bool):
            raise JsonError(path, "attendu : true ou false")
        return value
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise JsonError(path, "attendu : un nombre")
        return value
    if not isinstance(value, str):
        raise JsonError(path, "attendu : un texte")
    if field.type != FieldDescriptor.TYPE_BYTES:
        return value
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise JsonError(path, "attendu : des chiffres hexadécimaux") from None


def _enum_number(value: Any, enum: _Enum, path: str) -> int:
    names = {name: item.number for item in enum.values for name in (item.name, short_name(enum, item.name))}
    if isinstance(value, str) and value in names:
        return int(names[value])
    choices = ", ".join(short_name(enum, item.name) for item in enum.values if item.number)
    raise JsonError(path, f"attendu : une valeur parmi {choices}")


def _read_date(value: str, message: MonthMessage | Date | Timestamp, path: str) -> None:
    expected = "un instant RFC 3339"
    try:
        if isinstance(message, MonthMessage):
            expected = "un mois AAAA-MM"
            month = Month.parse(value)
            message.year, message.month = month.year, month.month
        elif isinstance(message, Date):
            expected = "une date AAAA-MM-JJ"
            day = date.fromisoformat(value)
            message.year, message.month, message.day = day.year, day.month, day.day
        else:
            message.FromDatetime(datetime.fromisoformat(value))
    except ValueError:
        raise JsonError(path, f"attendu : {expected}") from None


def _is_map(field: _Field) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)
