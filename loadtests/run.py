"""One run from start to end: people, server, the generator's ceiling, Locust, the report, the verdict."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import psutil

from loadtests.fill import fill_server
from loadtests.measures import Measures
from loadtests.plan import Plan
from loadtests.processes import guarded
from loadtests.report import write
from loadtests.result import Result
from loadtests.served import CannotServe, Served, check_target, free_port, serving
from loadtests.summary import PROGRESS
from loadtests.verdict import judgements
from loadtests.watch import Watch, disk_of

_HERE = Path(__file__).parent
_PACKAGES = ("locust", "gevent", "grpcio", "protobuf", "numpy")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a plan is run here."""

    target: str | None
    fill_target: bool
    store: str
    workers: int
    processes: int
    data: Path | None
    reports: Path
    ceiling_seconds: float
    command: str


class Progress:
    """Says how far something is, at most once a second."""

    def __init__(self) -> None:
        self._said = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Told by whoever works."""
        now = time.monotonic()
        if now - self._said >= 1 or done == total:
            self._said = now
            print(f"filling: {done:,} of {total:,} {what}", flush=True)


def run(plan: Plan, settings: Settings) -> int:
    """Run, report, judge; the status of the command."""
    signal.signal(signal.SIGTERM, interrupted)
    try:
        with guarded() as folder:
            result = _measured(plan, settings, folder)
    except KeyboardInterrupt:
        print("Interrupted: nothing is left running, no report was written.", file=sys.stderr)
        return 130
    except (CannotServe, RuntimeError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 3
    return conclude(result, settings.reports)


def report_on(file: Path, reports: Path, command: str) -> int:
    """Report on what a master of Locust wrote with `--measures`; ValueError when the file is not that."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        plan, measures = Plan.from_plain(content["plan"]), Measures.from_plain(content)
        facts = {
            "Date": datetime.fromtimestamp(content["start"], UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "Generator": f"{content['generators']} process(es) of Locust",
        }
        result = Result(plan, measures, judgements(measures, plan), content["start"], {}, [], {}, facts, command)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is not a file written by our locustfile with --measures") from error
    return conclude(result, reports)


def conclude(result: Result, reports: Path) -> int:
    """Write the report, say the verdict; the status of the command."""
    page = write(result, reports)
    for judgement in result.judgements:
        print(f"{'met   ' if judgement.met else 'MISSED'}  {judgement.label}: {judgement.measured} ({judgement.limit})")
    for warning in result.warnings:
        print(f"warning  {warning}")
    print(f"report: {page}")
    missed = [judgement.label for judgement in result.judgements if not judgement.met]
    if missed:
        print(f"Service levels missed: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def interrupted(number: int, frame: FrameType | None) -> NoReturn:
    """What a signal to end does: as Ctrl-C."""
    raise KeyboardInterrupt


def _measured(plan: Plan, settings: Settings, folder: Path) -> Result:
    print(
        f"{plan.shape.name}: scale {plan.scale:g}, speed-up {plan.speed_up:g}, {plan.duration_seconds:g} s, "
        f"{plan.foyers:,} foyers, {plan.persons:,} persons, seed {plan.seed}",
        flush=True,
    )
    with _service(plan, settings, folder) as served:
        disk = disk_of(settings.data or folder)
        ceiling = _ceiling(settings, folder)
        measures, start, watch = _load(plan, settings, served, folder)
    return Result(
        plan=plan,
        measures=measures,
        judgements=judgements(measures, plan),
        start=start,
        samples=watch.samples,
        queues=watch.queues,
        ceiling=ceiling,
        facts={**_facts(settings), "Disk": disk},
        command=settings.command,
    )


def _service(plan: Plan, settings: Settings, folder: Path) -> AbstractContextManager[Served]:
    if settings.target is None:
        return serving(folder, settings.data, settings.store, settings.workers, plan.foyers, plan.persons, Progress())
    check_target(settings.target)
    if settings.fill_target:
        fill_server(settings.target, plan.foyers, plan.persons, Progress())
    return nullcontext(Served(settings.target, None, None, None))


def _ceiling(settings: Settings, folder: Path) -> dict[str, float]:
    """Calls and batches a second that the generator makes against a server that does nothing."""
    print("measuring the generator against a server that does nothing", flush=True)
    command = [sys.executable, "-m", "loadtests.noop"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as noop:  # noqa: S603
        assert noop.stdout is not None
        address = noop.stdout.readline().strip()
        options = ["--seconds", str(settings.ceiling_seconds)]
        try:
            found = _locust("ceiling.py", address, options, settings.processes, folder, lambda process: None)
        finally:
            noop.terminate()
    return {name: float(rate) for name, rate in found.items()}


def _load(plan: Plan, settings: Settings, served: Served, folder: Path) -> tuple[Measures, float, Watch]:
    options = [
        "--shape", plan.shape.name, "--scale", str(plan.scale), "--speed-up", str(plan.speed_up),
        "--seconds", str(plan.duration_seconds), "--foyers", str(plan.foyers), "--persons", str(plan.persons),
        "--seed", str(plan.seed), "--connections", str(plan.connections),
    ]  # fmt: skip
    watches: list[Watch] = []

    def watch(process: subprocess.Popen[str]) -> None:
        groups = {"server": served.server, "database": served.database, "generator": process.pid}
        watches.append(
            Watch({name: pid for name, pid in groups.items() if pid is not None}, served.metrics).__enter__()
        )

    try:
        content = _locust("locustfile.py", served.address, options, settings.processes, folder, watch)
    finally:
        for each in watches:
            each.__exit__()
    return Measures.from_plain(content), content["start"], watches[0]


def _locust(
    name: str,
    address: str,
    options: list[str],
    processes: int,
    folder: Path,
    started: Callable[[subprocess.Popen[str]], None],
) -> dict[str, Any]:
    """Run one of our locustfiles to its end, and read what it measured; its lines of progress are ours."""
    log, measures = folder / f"{name}.log", folder / f"{name}.json"
    command = [
        sys.executable, "-m", "locust", "-f", str(_HERE / name), "--headless", "--host", address, "--only-summary",
        "--exit-code-on-error", "0", "--logfile", str(log), "--measures", str(measures), *options,
    ]  # fmt: skip
    if processes > 1:
        port = str(free_port())
        command += ["--processes", str(processes), "--master-bind-host", "127.0.0.1", "--master-bind-port", port]
        command += ["--master-port", port]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_HERE.parent), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(  # noqa: S603 - ours
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, env=environment,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        started(process)
        for line in process.stdout:
            if line.startswith(PROGRESS):
                print(line, end="", flush=True)
    if process.returncode or not measures.exists():
        said = log.read_text(errors="replace")[-2_000:]
        raise RuntimeError(f"Locust ended without a result (status {process.returncode}):\n{said}")
    content: dict[str, Any] = json.loads(measures.read_text(encoding="utf-8"))
    return content


def _facts(settings: Settings) -> dict[str, str]:
    """Where and with what a run was made."""
    if settings.target is not None:
        service = f"running already at {settings.target}"
    else:
        service = f"{settings.workers} process{'es' if settings.workers > 1 else ''}, {settings.store}, same machine"
    memory = psutil.virtual_memory().total / 2**30
    return {
        "Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Service": service,
        "Generator": f"{settings.processes} process{'es' if settings.processes > 1 else ''} of Locust",
        "Machine": f"{os.cpu_count()} cores, {memory:.0f} GiB, load before the report {os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "Packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    }
