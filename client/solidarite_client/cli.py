"""The command `solidarite`: `main` is what the installed script calls."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from importlib.util import find_spec

_MISSING = """\
La commande solidarite a besoin de typer et rich, qui ne sont pas installés :

    pip install "solidarite-source[cli]"
"""


def _write_whatever_is_told() -> None:
    """French, tables and names of files that are no text are written, whatever the system says that it can show."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0 when all went well, 1 when something was refused or failed, 2 for usage."""
    if find_spec("typer") is None or find_spec("rich") is None:
        sys.stderr.write(_MISSING)
        return 1
    from solidarite_client.cli_app import run

    _write_whatever_is_told()
    return run(sys.argv[1:] if arguments is None else list(arguments))
