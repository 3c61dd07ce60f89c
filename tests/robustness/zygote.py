"""Loads the server once, then forks a process for each line read: what a test kills starts in a moment.

Each line is the arguments of the command, as JSON; the process writes what the command writes, after its number.
Nothing of gRPC runs before the fork, and no thread.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from solidarite_client.cli import main
from solidarite_server import bootstrap  # noqa: F401 - what takes long to load


def wait_for_lines() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.environ["SOLIDARITE_SUPERVISOR"] = str(os.getppid())  # none is left when the test ends
            status = main(json.loads(line))
            print(f"ended {status}", flush=True)  # whoever waits for an address learns that none will come
            os._exit(status)
        print(pid, flush=True)


if __name__ == "__main__":
    wait_for_lines()
