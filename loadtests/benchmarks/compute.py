"""Speed of `solidarite compute` on files: JSON Lines, Arrow and Parquet, from reading to writing.

    python -m loadtests.benchmarks.compute [--cases 100000]

Writes the oracle's cases, repeated, to a temporary directory; runs the command as a user would, start of Python
included; prints one JSON object a line. `cat` reads the same file: what the disk and the memory allow.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import sys
import tempfile
import time
from pathlib import Path

from loadtests.benchmarks.engine import CASES, report, timed

_COMMAND = [sys.executable, "-m", "solidarite_client"]


def run(*arguments: str) -> tuple[float, float]:
    """Elapsed and processor seconds of the command, once."""
    return timed([*_COMMAND, *arguments])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    count: int = parser.parse_args().cases
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "cases.jsonl"
        lines = gzip.decompress(CASES.read_bytes()).splitlines(keepends=True)
        with source.open("wb") as file:
            for number in range(count):
                file.write(lines[number % len(lines)])
        first = Path(folder) / "first.jsonl"
        first.write_bytes(b"".join(lines[:10]))
        run("compute", "--input", str(first), "--output", str(first.with_name("out.jsonl")))
        start, size = time.perf_counter(), 0
        with source.open("rb") as file:
            while chunk := file.read(1 << 20):
                size += len(chunk)
        report(case="read_bytes", cases_per_s=round(count / (time.perf_counter() - start)), bytes_a_case=size // count)
        for suffix in ("jsonl", "arrow", "parquet"):
            given = source.with_suffix(f".{suffix}")
            if suffix != "jsonl":
                elapsed, cpu = run("cases", "convert", "--input", str(source), "--output", str(given))
                report(case=f"convert_to_{suffix}", cases_per_s=round(count / elapsed))
            for workers in ("", "1"):
                asked = ["--workers", workers] if workers else []
                output = str(Path(folder) / f"out.{suffix}")
                elapsed, cpu = run("compute", "--input", str(given), "--output", output, *asked)
                report(
                    case=f"compute_{suffix}" + ("_one_process" if workers else ""),
                    cases_per_s=round(count / elapsed),
                    seconds=round(elapsed, 2),
                    cases_per_cpu_s=round(count / cpu),
                    bytes_a_case=given.stat().st_size // count,
                )
        elapsed, cpu = run("compute", "--input", str(first), "--output", str(first.with_name("out.jsonl")))
        report(case="compute_10_cases", seconds=round(elapsed, 2), cpu_seconds=round(cpu, 2))
        report(case="peak", largest_process_mib=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)


if __name__ == "__main__":
    main()
