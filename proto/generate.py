"""Generate the stubs of the contract beside their sources, or check that they are up to date.

python proto/generate.py           # writes
python proto/generate.py --check   # exits 1 when a file would change
python proto/generate.py --release # keeps the contract as released: what comes later may not break it

Where `npm ci --ignore-scripts` was run in client/web: its TypeScript and the reference page built from it, too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent
SOURCES = sorted((ROOT / "solidarite" / "v1").glob("*.proto"))
TYPESCRIPT = ROOT.parent / "client" / "web"
RELEASED = ROOT / "released.binpb"
REFERENCE = Path("docs/frontaux/contrat.md")
PAGE = Path("server/solidarite_server/page")
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


Kind = tuple[Callable[[Path], None], str, Sequence[str]]
"""How to generate below a root, the folder where it writes, and the names of what it writes."""


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
    """Write the stubs of Python in `target`/proto; files without a service get no _grpc module."""
    names = [str(source.relative_to(ROOT)) for source in SOURCES]
    with_service = [name for name in names if "\nservice " in (ROOT / name).read_text()]
    out = target / "proto"
    out.mkdir(exist_ok=True)
    protoc(f"--python_out={out}", f"--mypy_out={out}", *names)
    protoc(f"--grpc_python_out={out}", f"--mypy_grpc_out={out}", *with_service)


def write_reference(target: Path) -> None:
    """Write docs/frontaux/contrat.md below `target`, from the comments of the contract."""
    from reference import render  # beside this file

    page = target / REFERENCE
    page.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        described = Path(folder) / "contract.binpb"
        image(described)
        page.write_text(render(described.read_bytes()), "utf-8")


def image(path: Path, *options: str) -> None:
    """Write a descriptor image, with comments unless told, for buf: it then needs no schema registry."""
    names = [str(source.relative_to(ROOT)) for source in SOURCES]
    options = options or ("--include_imports", "--include_source_info")
    protoc(*options, f"--descriptor_set_out={path}", *names)


def generate_typescript(target: Path) -> None:
    """Write the TypeScript of the contract and of the details of errors below `target`."""
    ours = [str(source.relative_to(ROOT)) for source in SOURCES]
    # Browsers call by gRPC-Web: the HTTP paths of the contract would only weigh.
    _buf_generate(target, ours, ["--include_source_info"], ["--exclude-type", "google.api.http"])
    _buf_generate(target, ["google/rpc/error_details.proto"], [], [])  # not ours: without its comments


def build_page(target: Path) -> None:
    """Build the reference page below `target`: the server's package carries it, no one needs Node.js to see it."""
    vite = TYPESCRIPT / "node_modules" / "vite" / "bin" / "vite.js"
    out = target / PAGE
    command = ["node", vite, "build", "--outDir", out, "--emptyOutDir", "--logLevel", "warn"]
    subprocess.run(command, check=True, cwd=TYPESCRIPT)


def _buf_generate(target: Path, names: list[str], image_options: list[str], buf_options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        image = f"{folder}/contract.binpb"
        protoc("--include_imports", *image_options, f"--descriptor_set_out={image}", *names)
        paths = [argument for name in names for argument in ("--path", name)]
        buf, template = Path(sys.executable).with_name("buf"), TYPESCRIPT / "buf.gen.yaml"
        command = [buf, "generate", image, "--template", template, "--output", target, *paths, *buf_options]
        subprocess.run(command, check=True, cwd=ROOT.parent)


def stale(folder: Path, fresh: Path, patterns: Sequence[str]) -> list[str]:
    """Names of the generated files below `folder` that differ from what `fresh` holds."""
    names = {
        str(path.relative_to(where))
        for where in (folder, fresh)
        for pattern in patterns
        for path in where.rglob(pattern)
    }

    def content(path: Path) -> bytes | None:
        return path.read_bytes() if path.exists() else None

    return sorted(name for name in names if content(folder / name) != content(fresh / name))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a stub is out of date")
    parser.add_argument("--image", type=Path, help="write a descriptor image for buf instead of stubs")
    parser.add_argument(
        "--release", action="store_true", help=f"write {RELEASED.name}, that buf breaking compares with"
    )
    options = parser.parse_args()
    if options.release:
        image(RELEASED, "--include_imports")
        return 0
    if options.image:
        image(options.image)
        return 0
    kinds: list[Kind] = [
        (generate, "proto/solidarite/v1", GENERATED),
        (write_reference, str(REFERENCE.parent), (REFERENCE.name,)),
    ]
    if (TYPESCRIPT / "node_modules").is_dir():
        kinds += [(generate_typescript, "client/web/src/gen", ("*.ts",)), (build_page, str(PAGE), ("*",))]
    else:
        print("TypeScript and page are left as they are: npm ci --ignore-scripts in client/web first", file=sys.stderr)
    outdated = []
    for make, below, patterns in kinds:
        if not options.check:
            make(ROOT.parent)
            continue
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder))
            outdated += stale(ROOT.parent / below, Path(folder) / below, patterns)
    for name in outdated:
        print(f"{name} is out of date: run python proto/generate.py", file=sys.stderr)
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
