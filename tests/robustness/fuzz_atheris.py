"""Bodies guided by what they reach in our own conversions: only declared errors may leave them.

    pip install -e ".[fuzz]" && python -m tests.robustness.fuzz_atheris -runs=5000000

Options are those of libFuzzer (`-max_total_time=60` for a minute). It starts from one right request of each kind, and
stops at the first unforeseen exception with the bytes that made it.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["solidarite_server.rpc", "solidarite_server.domain"]):
    from google.protobuf.message import DecodeError
    from solidarite_server.domain.errors import SolidariteError

    from tests.robustness.test_fuzz import BODIES, CONVERTED, converted


def convert(data: bytes) -> None:
    """The first byte chooses the request, the others are its body."""
    if not data:
        return
    with contextlib.suppress(DecodeError, SolidariteError):
        converted(CONVERTED[data[0] % len(CONVERTED)], data[1:])


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="atheris-") as folder:
        for place, name in enumerate(CONVERTED):
            (Path(folder) / name).write_bytes(bytes([place]) + BODIES[name])
        atheris.Setup([*sys.argv, folder], convert)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
