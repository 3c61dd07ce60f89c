"""A reading of the law as a numba type: its options are constants of the machine code. Imported where numba is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba import types
from numba.core.imputils import lower_constant
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_getattr_generic,
    models,
    register_model,
    typeof_impl,
    unbox,
)


class Fixed:
    """Options whose values belong to the type: each set of values is a compilation of its own."""

    def __init__(self, names: Sequence[str], values: Sequence[bool], stamp: str) -> None:
        self.options = dict(zip(names, values, strict=True))
        self.stamp = stamp


class FixedType(types.Opaque):
    """The type of a `Fixed`; two with the same options and stamp are the same."""

    def __init__(self, options: dict[str, bool], stamp: str) -> None:
        self.options = options
        super().__init__(name=f"Fixed({''.join(str(int(value)) for value in options.values())}, {stamp})")


@typeof_impl.register(Fixed)
def _typeof(reading: Fixed, context: object) -> FixedType:
    return FixedType(reading.options, reading.stamp)


register_model(FixedType)(models.OpaqueModel)


@lower_constant(FixedType)
def _global(context: Any, builder: object, typ: FixedType, value: object) -> object:
    return context.get_dummy_value()


@unbox(FixedType)
def _unbox(typ: FixedType, obj: object, c: Any) -> NativeValue:
    return NativeValue(c.context.get_dummy_value())


@infer_getattr
class _Attributes(AttributeTemplate):
    key = FixedType

    def generic_resolve(self, typ: FixedType, name: str) -> object:  # type: ignore[override]
        return types.boolean if name in typ.options else None


@lower_getattr_generic(FixedType)
def _constant(context: Any, builder: object, typ: FixedType, value: object, name: str) -> object:
    return context.get_constant(types.boolean, typ.options[name])
