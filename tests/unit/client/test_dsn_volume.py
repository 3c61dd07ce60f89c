"""A file of any size is read in memory that does not follow its size."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.client.dsn_builder import NIR, declaration, encode, header, net, payment, person

MIB = 1 << 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory in /proc")


def write_file(path: Path, size: int) -> int:
    """Write a valid DSN of at least `size` bytes: declarations of 1,000 persons. Returns how many persons."""
    count = written = total_lines = declarations = 0
    rubrics_of_a_person = person(payment(net()))
    one_person = encode(f"{code},'{value}'" for code, value in rubrics_of_a_person)
    with path.open("wb") as file:

        def write(rubrics) -> None:
            nonlocal written, total_lines
            written += file.write(encode(f"{code},'{value}'" for code, value in rubrics))
            total_lines += len(rubrics)

        write(header())
        while written < size:
            write(declaration(nic=f"{declarations:05d}"))
            declarations += 1
            for _ in range(1000):
                written += file.write(one_person.replace(NIR.encode(), f"28405{count:08d}".encode()))
                total_lines += len(rubrics_of_a_person)
                count += 1
        write([("S90.G00.90.001", str(total_lines + 2)), ("S90.G00.90.002", str(declarations))])
    return count


def peak_mib_of(statement: str, path: Path) -> float:
    """Peak resident memory of a fresh process that runs one statement on the file.

    VmHWM rather than getrusage: the latter also counts what the parent held when it forked.
    """
    program = (
        "import sys; from pathlib import Path; from solidarite_client.dsn import check_dsn;"
        f"path = Path(sys.argv[1]); {statement};"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    run = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    return int(run.stdout) / 1024


@pytest.mark.parametrize("size_mib", [50, pytest.param(500, marks=pytest.mark.long)])
def test_a_big_file_takes_no_more_memory_than_a_small_one(tmp_path, size_mib):
    small, big = tmp_path / "small.dsn", tmp_path / "big.dsn"
    write_file(small, 2 * MIB)
    write_file(big, size_mib * MIB)
    assert peak_mib_of("check_dsn(path)", big) - peak_mib_of("check_dsn(path)", small) < 4


def test_the_measure_sees_a_file_held_in_memory(tmp_path):
    """The control: the same measure on a reader that keeps the file."""
    small, big = tmp_path / "small.dsn", tmp_path / "big.dsn"
    write_file(small, 2 * MIB)
    write_file(big, 20 * MIB)
    keep = "kept = path.read_bytes()"
    assert peak_mib_of(keep, big) - peak_mib_of(keep, small) > 4
