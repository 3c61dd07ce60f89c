"""Everything a run starts carries its mark, and ends with it, however it ends.

A small process of its own waits for the end of the run (its pipe closes, even after a kill -9), then ends whatever
still carries the mark and removes the folder of the run.

    python -m loadtests.processes MARK FOLDER      what that process runs
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_VARIABLE = "LOADTESTS_RUN"
_PATIENCE_SECONDS = 8.0


@contextmanager
def guarded() -> Iterator[Path]:
    """A folder for the run. Once left, no process started inside remains and the folder is gone."""
    mark = uuid.uuid4().hex
    folder = Path(tempfile.mkdtemp(prefix="loadtests-"))
    command = [sys.executable, "-m", "loadtests.processes", mark, str(folder)]
    # In a session of its own: Ctrl-C in the terminal is not for it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as guard:  # noqa: S603 - ours
        # What a process is given at its start: this one does not carry the mark, its children do.
        os.environ[_VARIABLE] = mark
        try:
            yield folder
        finally:
            del os.environ[_VARIABLE]
            end_marked(mark)
            shutil.rmtree(folder, ignore_errors=True)
            assert guard.stdin is not None
            guard.stdin.close()


def end_marked(mark: str) -> None:
    """End every process that carries the mark: asked first, then made to."""
    # More than once: one that was being started when the others were listed.
    while processes := _marked(mark):
        for process in processes:
            _unless_gone(process.terminate)
        _, remaining = psutil.wait_procs(processes, timeout=_PATIENCE_SECONDS)
        for process in remaining:
            _unless_gone(process.kill)
        psutil.wait_procs(remaining, timeout=_PATIENCE_SECONDS)


def _marked(mark: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _mark_of(process) == mark]


def _mark_of(process: psutil.Process) -> str | None:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        found: str | None = process.environ().get(_VARIABLE)
    except (psutil.Error, OSError):
        return None
    return found


def _unless_gone(action: Callable[[], None]) -> None:
    try:
        action()
    except psutil.NoSuchProcess:
        return


def main() -> None:
    """Wait for the end of the pipe, then clean up."""
    mark, folder = sys.argv[1:]
    sys.stdin.buffer.read()
    end_marked(mark)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
