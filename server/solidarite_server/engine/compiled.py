"""How a rule is compiled, and how a reading of the law reaches it.

A rule asks `o.mayotte`, a boolean. Three things can stand for `o`, from the same source of the rules:

- `LegislationOptions` itself, when the rules are interpreted (no numba);
- a record of booleans, read as the rules run: one compilation serves every reading;
- a `Fixed` reading, whose booleans belong to the numba type: the branches that this reading never takes vanish from the
  machine code. Each fixed reading costs a compilation, so only that of the law is compiled so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from solidarite_server.legislation import LegislationOptions

F = TypeVar("F", bound=Callable[..., Any])

SWITCHES = tuple(field.name for field in fields(LegislationOptions) if isinstance(field.default, bool))
_LAW = LegislationOptions.law()
_RECORD = np.dtype([(name, "?") for name in SWITCHES])


def is_law(options: LegislationOptions) -> bool:
    """Whether the rules read these options as the law: the reading that is compiled apart, on narrow columns."""
    return all(getattr(options, name) == getattr(_LAW, name) for name in SWITCHES)


class Fixed:
    """A reading whose options are constants of the compiled rules."""

    def __init__(self, options: LegislationOptions) -> None:
        self.values = tuple(bool(getattr(options, name)) for name in SWITCHES)


try:
    import numba
except ImportError:
    numba = None

if numba is None:  # the same cents, slowly

    def rule(function: F) -> F:
        """Without numba the rule runs as it is written."""
        return function

    def reading(options: LegislationOptions, *, fixed: bool) -> object:
        """Without numba the rules read the options themselves."""
        return options

else:
    from numba import njit, types
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

    class _FixedType(types.Opaque):  # type: ignore[misc]
        def __init__(self, values: tuple[bool, ...]) -> None:
            self.values = values
            super().__init__(name=f"Fixed({''.join(str(int(value)) for value in values)})")

    @typeof_impl.register(Fixed)
    def _typeof(reading: Fixed, context: object) -> _FixedType:
        return _FixedType(reading.values)

    register_model(_FixedType)(models.OpaqueModel)

    @unbox(_FixedType)
    def _unbox(typ: _FixedType, obj: object, c: Any) -> NativeValue:
        return NativeValue(c.context.get_dummy_value())

    @infer_getattr
    class _FixedAttributes(AttributeTemplate):  # type: ignore[misc]
        key = _FixedType

        def generic_resolve(self, typ: _FixedType, name: str) -> object:
            return types.boolean if name in SWITCHES else None

    @lower_getattr_generic(_FixedType)
    def _constant(context: Any, builder: object, typ: _FixedType, value: object, name: str) -> object:
        return context.get_constant(types.boolean, typ.values[SWITCHES.index(name)])

    def rule(function: F) -> F:
        """Compile a rule; its article stands in the first line of its docstring."""
        compiled: Any = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function)
        return compiled  # type: ignore[no-any-return]

    def reading(options: LegislationOptions, *, fixed: bool) -> object:
        """The options as compiled rules take them."""
        if fixed:
            return Fixed(options)
        return np.array(tuple(getattr(options, name) for name in SWITCHES), _RECORD)[()]
