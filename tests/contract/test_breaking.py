"""A client built on the last release goes on working: the contract only grows."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).parents[2]
RELEASED = ROOT / "proto" / "released.binpb"


def breaking(image: Path) -> subprocess.CompletedProcess[str]:
    buf = Path(sys.executable).with_name("buf")
    command = [buf, "breaking", image, "--against", RELEASED, "--config", ROOT / "proto" / "buf.yaml"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("contract") / "contract.binpb"
    subprocess.run([sys.executable, ROOT / "proto" / "generate.py", "--image", path], check=True, timeout=60)
    return path


def test_nothing_of_the_last_release_is_broken(image: Path):
    done = breaking(image)
    assert done.returncode == 0, done.stdout


def remove_a_field(file: FileDescriptorProto) -> None:
    del file.message_type[0].field[-1]


def change_a_type(file: FileDescriptorProto) -> None:
    file.message_type[0].field[0].type = 9  # TYPE_STRING


def rename_a_value(file: FileDescriptorProto) -> None:
    file.enum_type[0].value[1].name += "_2"


@pytest.mark.parametrize("change", [remove_a_field, change_a_type, rename_a_value], ids=lambda change: change.__name__)
def test_what_breaks_a_client_is_seen(change: Callable[[FileDescriptorProto], None], image: Path, tmp_path: Path):
    changed = FileDescriptorSet.FromString(image.read_bytes())
    change(next(file for file in changed.file if file.name == "solidarite/v1/common.proto"))
    path = tmp_path / "changed.binpb"
    path.write_bytes(changed.SerializeToString())
    assert breaking(path).returncode != 0
