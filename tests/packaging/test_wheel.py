"""What people install: the wheel, what is in it, and what it needs on the oldest and newest of what it declares.

The long form makes an environment for each Python found here (3.11 and newer), once with the lowest and once
with the newest grpcio, protobuf and pydantic of the declared ranges, installs the wheel alone and uses the client
there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

# What a payroll vendor does first: read a DSN file, and meet a clear error where nothing listens.
USE = """
import sys
from pathlib import Path
import solidarite_client as c
from solidarite.v1 import declaration_pb2, declaration_pb2_grpc, resource_record_pb2
assert "numpy" not in sys.modules and "solidarite_server" not in sys.modules
try:
    import numpy
except ImportError:
    pass
else:
    raise SystemExit("the base install brings numpy")
records = [item for item in c.read_dsn(Path(sys.argv[1])) if isinstance(item, c.ResourceRecord)]
assert sum(r.montant_net_social_cents for r in records) == int(sys.argv[2]), records
try:
    with c.SolidariteClient("127.0.0.1:1") as client:
        client.prefill_declaration("0000001", "2026-11")
except c.SolidariteError as error:
    print("ok", type(error).__name__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_three_packages_and_their_data_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "solidarite",
        "solidarite_client",
        "solidarite_server",
    }
    for kept in ("solidarite/v1/declaration.proto", "solidarite_client/py.typed", "solidarite_server/py.typed"):
        assert kept in names
    for pattern in (r"legislation/parameters/.*\.yaml", r"storage/migrations/.*\.sql", r"demo_data/dsn/.*\.dsn"):
        source = {
            str(path.relative_to(ROOT / "server"))
            for path in (ROOT / "server").rglob("*")
            if re.search(pattern, str(path))
        }
        assert source
        assert source <= set(names)
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name or "node_modules" in name]


def test_the_base_install_needs_four_packages_only():
    wanted = {re.split(r"[<>=!~\[ ]", need)[0] for need in PROJECT["dependencies"]}
    assert wanted == {"grpcio", "protobuf", "pydantic", "googleapis-common-protos"}


def lowest() -> list[str]:
    """The declared floor of each base dependency."""
    return [re.sub(r"^([A-Za-z-]+)>=([0-9.]+).*", r"\1==\2", need) for need in PROJECT["dependencies"]]


def interpreters() -> list[str]:
    """Pythons of this machine that run, among those supported."""
    found = []
    for version in PYTHONS:
        path = shutil.which(f"python{version}")
        if path and subprocess.run([path, "-c", "pass"], capture_output=True, check=False).returncode == 0:
            found.append(path)
    return found or [sys.executable]


@pytest.mark.long
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("range_end", ["lowest", "newest"])
def test_the_wheel_alone_serves_a_payroll_vendor(wheel: Path, tmp_path: Path, range_end: str):
    sample = ROOT / "server" / "solidarite_server" / "demo_data" / "dsn" / "opale-2026-08.dsn"
    expected = sample_total(sample)
    for python in interpreters():
        environment = tmp_path / Path(python).name
        subprocess.run([python, "-m", "venv", str(environment)], check=True, capture_output=True)
        own = str(environment / "bin" / "python")
        # The oldest pydantic of the range has no wheel for 3.14.
        pins = lowest() if range_end == "lowest" and not python.endswith("3.14") else []
        subprocess.run([own, "-m", "pip", "install", "-q", str(wheel), *pins], check=True, capture_output=True)
        used = subprocess.run([own, "-c", USE, str(sample), str(expected)], capture_output=True, text=True, check=False)
        assert used.returncode == 0, (python, used.stderr)
        assert used.stdout.split() == ["ok", "ServerUnreachable"], python


def sample_total(sample: Path) -> int:
    """Cents of montant net social in the file, read line by line without the reader."""
    total, kind = 0, ""
    for line in sample.read_text("iso-8859-1").splitlines():
        rubric, _, value = line.partition(",")
        if rubric == "S21.G00.58.003":
            kind = value.strip("'")
        elif rubric == "S21.G00.58.004" and kind == "03":
            total += round(float(value.strip("'")) * 100)
    return total
