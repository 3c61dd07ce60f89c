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
from functools import lru_cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from solidarite_server.legislation import LegislationOptions

_SOURCES = ("rules", "compiled", "fixed", "columns", "natures", "parameters", "steps")
_STAMP = blake2b(
    b"".join((Path(__file__).parent / f"{name}.py").read_bytes() for name in _SOURCES), digest_size=8
).hexdigest()

SOURCES = np.zeros((), [(f"sources_{_STAMP}", "?")])[()]
"""What an entry takes that reads no option: its type changes with the sources of the rules."""

F = TypeVar("F", bound=Callable[..., Any])

SWITCHES = tuple(field.name for field in fields(LegislationOptions) if isinstance(field.default, bool))
_LAW = LegislationOptions.law()
_RECORD = np.dtype([*((name, "?") for name in SWITCHES), (f"sources_{_STAMP}", "?")])


@lru_cache(maxsize=256)
def is_law(options: LegislationOptions) -> bool:
    """Whether the rules read these options as the law: the reading that is compiled apart, on narrow columns."""
    return all(getattr(options, name) == getattr(_LAW, name) for name in SWITCHES)


try:
    from numba import config, njit

    COMPILED = not config.DISABLE_JIT  # type: ignore[attr-defined]
except ImportError:
    COMPILED = False

if not COMPILED:  # the same cents, slowly

    def rule(function: F) -> F:
        """Without numba the rule runs as it is written."""
        return function

    def entry(function: F) -> F:
        """Nor is there anything to keep between runs."""
        return function

    def reading(options: LegislationOptions, *, fixed: bool) -> object:
        """Without numba the rules read the options themselves."""
        return options

else:
    from solidarite_server.engine.fixed import Fixed

    # The rules allocate nothing and only look into arrays that their caller keeps: counting references to each slice
    # took a third of the time.
    _compile = partial(njit, nogil=True, error_model="numpy", _nrt=False)

    def rule(function: F) -> F:
        """Compile a rule into those that call it; its article stands in the first line of its docstring.

        A call hands each array over as seven to eleven numbers: half of the time went into that before rules were
        forced inline.
        """
        compiled: Any = _compile(forceinline=True)(function)
        return compiled  # type: ignore[no-any-return]

    def entry(function: F) -> F:
        """Compile what is called from outside, kept on disk between runs.

        numba looks for changes in the file of the function alone, so the types of `reading` and of SOURCES name the
        sources of all the rules: an entry takes one of them, and is compiled again when one changes.
        """
        compiled: Any = _compile(cache=True)(function)
        return compiled  # type: ignore[no-any-return]

    def reading(options: LegislationOptions, *, fixed: bool) -> object:
        """The options as compiled rules take them."""
        if fixed:
            return Fixed(SWITCHES, [getattr(options, name) for name in SWITCHES], _STAMP)
        return np.array((*(getattr(options, name) for name in SWITCHES), True), _RECORD)[()]
