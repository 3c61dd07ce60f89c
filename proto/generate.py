"""Generate the stubs of the contract beside their sources, or check that they are up to date.

python proto/generate.py           # writes
python proto/generate.py --check   # exits 1 when a file would change
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent
SOURCES = sorted((ROOT / "solidarite" / "v1").glob("*.proto"))
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def includes() -> list[str]:
    """Import roots: ours, protoc's well-known types, and google/api from googleapis-common-protos."""
    import google.api

    googleapis = Path(next(iter(google.api.__path__))).parents[1]
    return [f"-I{ROOT}", f"-I{files('grpc_tools') / '_proto'}", f"-I{googleapis}"]


def protoc(*arguments: str) -> None:
    """Run protoc with the plugins of this Python first: its environment need not be activated."""
    beside = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{beside}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    command = [sys.executable, "-m", "grpc_tools.protoc", *includes(), *arguments]
    subprocess.run(command, check=True, env=environment)


def generate(target: Path) -> None:
    """Write the stubs below `target`; files without a service get no _grpc module."""
    names = [str(source.relative_to(ROOT)) for source in SOURCES]
    with_service = [name for name in names if "\nservice " in (ROOT / name).read_text()]
    protoc(f"--python_out={target}", f"--mypy_out={target}", *names)
    protoc(f"--grpc_python_out={target}", f"--mypy_grpc_out={target}", *with_service)


def image(path: Path) -> None:
    """Write a descriptor image with comments, for buf: it then needs no schema registry."""
    names = [str(source.relative_to(ROOT)) for source in SOURCES]
    protoc("--include_imports", "--include_source_info", f"--descriptor_set_out={path}", *names)


def stale(target: Path) -> list[str]:
    """Names of the stubs that differ from what `target` holds."""
    folder, fresh = ROOT / "solidarite" / "v1", target / "solidarite" / "v1"
    names = {path.name for where in (folder, fresh) for pattern in GENERATED for path in where.glob(pattern)}

    def content(path: Path) -> bytes | None:
        return path.read_bytes() if path.exists() else None

    return sorted(name for name in names if content(folder / name) != content(fresh / name))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a stub is out of date")
    parser.add_argument("--image", type=Path, help="write a descriptor image for buf instead of stubs")
    options = parser.parse_args()
    if options.image:
        image(options.image)
        return 0
    if not options.check:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        outdated = stale(Path(folder))
    for name in outdated:
        print(f"{name} is out of date: run python proto/generate.py", file=sys.stderr)
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
