"""Canaries: persons, amounts and tokens that go through a real server and its commands, and are then looked for in all
that is left behind. What is found where it may not be is a leak.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.resources import files
from pathlib import Path

import grpc
import pytest
from solidarite_client.cli import main
from solidarite_server.domain.nir import nir_key
from solidarite_server.services import keyring
from solidarite_server.storage import SqliteStore

from tests.integration.stores.records import HandClock

NIR, OTHER_NIR = "1671176998877", "2671176998866"
NAME = "OISEAUDELAMINE"
AMOUNT = "7654.32"
MOTIF = "motif-du-canari-0451"
PERSONS = {NIR, OTHER_NIR, NIR + nir_key(NIR), NAME}
AMOUNTS = {AMOUNT, AMOUNT.replace(".", ","), AMOUNT.replace(".", ""), "7 654,32"}


def shapes(canary: str) -> dict[str, bytes]:
    """Ways in which a canary would still be known: as text, encoded, or as a digest without a key."""
    data = canary.encode()
    found = {
        "text": data,
        "UTF-16": canary.encode("utf-16-le"),
        "hexadecimal": data.hex().encode(),
        "reversed": data[::-1],
    }
    if len(data) >= 9:
        # Three alignments: what is encoded with something before it.
        for shift in range(3):
            start = (-shift) % 3
            whole = data[start : start + (len(data) - start) // 3 * 3]
            found[f"base 64, {shift}"] = base64.b64encode(whole)
        for name in ("md5", "sha1", "sha256", "blake2b"):
            digest = hashlib.new(name, data).digest()
            found[name], found[f"{name} in hexadecimal"] = digest[:16], digest.hex()[:24].encode()
    return found


def hits(canaries: set[str], places: dict[str, bytes]) -> list[str]:
    """Where a canary is: the place and the shape, never the canary."""
    return [
        f"{place} : {shape}"
        for place, data in places.items()
        for canary in sorted(canaries)
        for shape, wanted in shapes(canary).items()
        if wanted in data
    ]


def test_the_search_finds_a_canary_in_every_shape():
    for shape, data in shapes(NIR).items():
        assert f"place : {shape}" in hits({NIR}, {"place": b"--" + data + b"--"})
    assert hits({NIR}, {"place": b"rien"}) == []


@dataclass
class Left:
    """All that is left behind, by place."""

    folder: Path
    texts: dict[str, bytes] = field(default_factory=dict)
    """What was printed: logs, answers, errors, metrics."""
    secrets: set[str] = field(default_factory=set)
    """Tokens and private keys."""

    def files(self, *patterns: str) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for pattern in patterns
            for path in self.folder.rglob(pattern)
            if path.is_file()
        }


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@contextmanager
def collecting(port: int) -> Iterator[list[bytes]]:
    """A collector of OpenTelemetry traces; what it is sent."""
    received: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", port), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever, daemon=True)
        thread.start()
        yield received
        collector.shutdown()


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """A server that logs all it can, and everything that can be done with it, well and badly."""
    folder = tmp_path_factory.mktemp("canaris")
    left = Left(folder)
    (folder / "in").mkdir()
    dsn = (files("solidarite_server") / "demo_data" / "dsn" / "etoile-2026-07.dsn").read_bytes()
    dsn = dsn.replace(b"2840575999101", NIR.encode()).replace(b"BENALI", NAME.encode())
    dsn = dsn.replace(b"'1311.11'", f"'{AMOUNT}'".encode())
    assert AMOUNT.encode() in dsn
    (folder / "in" / "bon.dsn").write_bytes(dsn)
    (folder / "in" / "casse.dsn").write_bytes(dsn.replace(NIR.encode(), NIR.encode() + b"X", 1))
    dossier = {
        "numero_allocataire": "0000451",
        "membres": [
            {"personne": "a", "role": "ALLOCATAIRE", "date_naissance": "1967-11-02", "nir": NIR},
            {"personne": "c", "role": "CONJOINT", "date_naissance": "1967-11-03", "nir": OTHER_NIR},
        ],
    }
    (folder / "in" / "bon.json").write_text(json.dumps(dossier))
    (folder / "in" / "nir-en-numero.json").write_text(json.dumps({**dossier, "numero_allocataire": NIR}))
    (folder / "in" / "faux.json").write_text(json.dumps({**dossier, "membres": [{"personne": NIR, "nir": NAME}]}))

    ports = [free_port() for _ in range(4)]
    assert main(["auth", "init", str(folder / "auth"), "--store-file", str(folder / "s.db")]) == 0
    config = folder / "auth" / "solidarite.toml"
    text = config.read_text().replace("50051", str(ports[0])).replace("50052", str(ports[1]))
    config.write_text(
        text + f'log_level = "debug"\nlog_calls = "all"\nmetrics_listen = "127.0.0.1:{ports[2]}"\n'
        'declaration_calendar = "LIBRE"\n'
        f'otlp_endpoint = "http://127.0.0.1:{ports[3]}/v1/traces"\n'
    )
    environment = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "1",
        "XDG_STATE_HOME": str(folder / "etat"),
        "SOLIDARITE_TLS_CA": str(folder / "auth" / "authority.pem"),
        "SOLIDARITE_AUTH_DIR": str(folder / "auth"),
        "COLUMNS": "200",
    }
    log = folder / "serveur.log"
    with log.open("wb") as out, collecting(ports[3]) as traces:
        server = subprocess.Popen(
            [sys.executable, "-m", "solidarite_client", "serve", "--config", str(config)],
            stdout=out,
            stderr=out,
            env=environment,
        )
        try:
            deadline = time.monotonic() + 90
            while b"pr\xc3\xaat" not in log.read_bytes():
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            with pytest.MonkeyPatch.context() as patch, chdir(folder / "in"):
                for name, value in environment.items():
                    patch.setenv(name, value)
                live(left, ports)
        finally:
            server.terminate()
            server.wait(30)
    left.texts["log of the server"] = log.read_bytes()
    left.texts["traces"] = b"".join(traces)
    return left


def live(left: Left, ports: list[int]) -> None:
    """Each command as somebody would type it; what may show an amount is asked for by its owner only."""
    folder, numbers = left.folder, iter(range(1_000))
    sources, portals = (f"127.0.0.1:{port}" for port in ports[:2])

    def run(*arguments: str, code: int = 0) -> None:
        # In this process: a command of its own takes a second to start, and prints the same.
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            done = main(list(arguments))
        assert done == code, (arguments[:2], err.getvalue())
        left.texts[f"command {next(numbers)} {' '.join(arguments[:2])}"] = (out.getvalue() + err.getvalue()).encode()

    auth = str(folder / "auth")
    run("auth", "cert", "etoile", "--dir", auth)
    for name, *options in (
        ("agent", "--kind", "agent", "--purpose", MOTIF, *[f"--scope={scope}" for scope in (
            "foyers.write", "foyers.read", "records.read", "declarations.read", "declarations.write",
            "entitlements.read")]),
        ("portail", "--dossier", "0000001"),
    ):  # fmt: skip
        run("auth", "token", "--dir", auth, *options, "--output", str(folder / f"{name}.jwt"))
        left.secrets.add((folder / f"{name}.jwt").read_text().strip().rpartition(".")[2])
    left.secrets.add(json.loads((folder / "auth" / "tokens.private.jwks.json").read_text())["keys"][0]["d"])
    left.secrets.add(json.loads((folder / "s.db.key").read_text())["base"])
    as_source = (
        "--server", sources, "--source", "etoile", "--tls-cert", f"{auth}/sources/etoile.pem",
        "--tls-key", f"{auth}/sources/etoile.key",
    )  # fmt: skip
    as_agent = ("--server", portals, "--token-file", str(folder / "agent.jwt"))
    as_portal = ("--server", portals, "--token-file", str(folder / "portail.jwt"))
    run("ingest", *as_source, "bon.dsn")
    left.texts.update({f"journal {name}": data for name, data in left.files("etat/**/*").items()})
    run("ingest", *as_source, "casse.dsn", code=1)
    run("ingest", *as_source[:2], "--source", "comete", *as_source[4:], "bon.dsn", code=1)
    run("ingest", "--server", "127.0.0.1:1", "bon.dsn", code=1)
    run("foyer", "put", *as_agent, "bon.json")
    run("foyer", "put", *as_agent, "nir-en-numero.json", code=1)
    run("foyer", "put", *as_agent, "faux.json", code=1)
    run("foyer", "put", *as_portal, "bon.json", code=1)
    # Amounts are shown to who asks for them, and to nobody else: what these print is not searched for amounts.
    owner = {"records", "prefill", "declaration", "entitlements"}
    run("records", *as_agent, "--nir", NIR)
    run("records", *as_agent, "--nir", NIR[:-1], code=1)
    run("prefill", *as_agent, "--allocataire", "0000451", "--month", "2026-11")
    run("prefill", *as_agent, "--allocataire", NIR, "--month", "2026-11", code=1)
    run("prefill", *as_portal, "--allocataire", "0000451", "--month", "2026-11", code=1)
    run("entitlements", *as_agent, "--allocataire", "0000451", "--month", "2026-11")
    run("declaration", "rectify", "a/2026-07/SALAIRE", AMOUNT, *as_agent, "--allocataire", "0000451",
        "--month", "2026-11", "--justificatif", f"pièce {NIR}", code=1)  # fmt: skip
    run("declaration", "confirm", *as_agent, "--allocataire", "0000451", "--month", "2026-11")
    store, key = f"sqlite:///{folder / 's.db'}", str(folder / "s.db.key")
    run("audit", "show", "--store", store, "--json")
    run("store", "backup", str(folder / "copie.db"), "--store", store)
    run("pseudonyms", "rotate", "--store", store, "--key-file", key)
    run("store", "backup", str(folder / "copie-2.db"), "--store", store)
    for place in [place for place in left.texts if place.split()[2] in owner]:
        left.texts["owner's " + place] = left.texts.pop(place)
    undecodable(left, portals, os.environ["SOLIDARITE_TLS_CA"])
    with urllib.request.urlopen(f"http://127.0.0.1:{ports[2]}/metrics", timeout=10) as answer:
        left.texts["metrics"] = answer.read()


def undecodable(left: Left, address: str, ca: str) -> None:
    """Bodies, names of methods and metadata that hold a canary where nobody expects one."""
    token = (left.folder / "agent.jwt").read_text().strip()
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(Path(ca).read_bytes())) as channel:
        for method, body, metadata in (
            ("/solidarite.v1.FoyerService/GetFoyer", b"\x0a\xff" + NIR.encode(), ()),
            ("/solidarite.v1.FoyerService/GetFoyer", b"\x0a\x0d" + NIR.encode(), ()),
            ("/solidarite.v1.FoyerService/" + NIR, b"", ()),
            ("/solidarite.v1.FoyerService/GetFoyer", b"", (("x-request-id", NIR),)),
            ("/solidarite.v1.FoyerService/GetFoyer", b"", (("x-request-id", f"00000000-0000-0000-0000-{NIR[:12]}"),)),
            ("/solidarite.v1.FoyerService/GetFoyer", b"", (("authorization", f"Bearer {NIR}.{NIR}.{NIR}"),)),
        ):
            metadata = metadata if metadata and metadata[0][0] == "authorization" else (
                *metadata, ("authorization", f"Bearer {token}"),
            )  # fmt: skip
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(method)(body, metadata=metadata, timeout=10)
            left.texts[f"error {len(left.texts)}"] = (refused.value.details() or "").encode() + repr(
                refused.value.trailing_metadata()
            ).encode()


def test_no_person_and_no_secret_is_in_what_was_printed(left: Left):
    assert len(left.texts) > 25
    assert b"PrefillDeclaration" in left.texts["log of the server"]
    assert b"PrefillDeclaration" in left.texts["traces"]
    assert hits(PERSONS | left.secrets, left.texts) == []


def test_no_amount_is_in_the_log_the_metrics_or_what_others_read(left: Left):
    assert any(AMOUNT.replace(".", ",") in data.decode().replace("\u202f", "") for data in left.texts.values())
    assert hits(AMOUNTS, {place: data for place, data in left.texts.items() if not place.startswith("owner's")}) == []


def test_no_person_and_no_secret_is_in_the_store_its_log_or_its_copies(left: Left):
    held = left.files("s.db", "s.db-wal", "s.db.lock", "copie*.db")
    assert len(held) >= 4
    assert hits(PERSONS | left.secrets, held) == []
    # The control: the person is there, under the name that the keys give.
    keys = keyring.load(left.folder / "s.db.key")
    store = SqliteStore(left.folder / "s.db", clock=HandClock(), keys=keys)
    from solidarite_server.services.pseudonym import HmacPseudonymizer

    assert len(store.records_of([HmacPseudonymizer(keys.base).nir(NIR)])) == 1
    assert any(line.purpose == MOTIF for line in store.audit_lines())
    assert store.verify_audit() == []
    store.close()


def test_a_journal_not_yet_acknowledged_is_private(left: Left):
    """It holds the records as they leave, NIR included, on the source's own machine; once acknowledged it is gone."""
    waiting = left.files("etat/**/*")
    assert any(NIR.encode() in data for data in waiting.values())  # that of the silent server
    for path in (left.folder / "etat").rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o077 == 0


def test_private_files_are_readable_by_their_owner_only(left: Left):
    names = ("*.key", "*private*", "*.jwt", "s.db*", "copie*.db")
    for path in [path for name in names for path in left.folder.rglob(name)]:
        assert path.stat().st_mode & 0o077 == 0, path.name
