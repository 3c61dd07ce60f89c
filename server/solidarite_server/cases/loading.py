"""Loading a short command without the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Hold the collector while modules and rules are loaded, then leave what they hold out of its later passes.

    They make some million objects that live until the end: the collector went over them again and again, a fifth of
    the start of `compute`, and once more at its end. Processes forked afterwards share them as they are.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()
