"""What an operator or a source reads when something is in the way: the likely cause, and what to do."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from solidarite_client import ClientSettings, SolidariteClient, Tls
from solidarite_client.cli import main
from solidarite_client.errors import CallError, HandshakeFailed, ServerUnreachable
from solidarite_server.listening import AddressError, refuse_unusable

from tests.integration.operation.test_tls import Files, running


def refused(address: str, tls: Tls | None) -> CallError:
    """What a client with these certificates is told."""
    with SolidariteClient(address, ClientSettings(tls=tls, attempts=1)) as client, pytest.raises(CallError) as caught:
        client.get_foyer("0000001")
    return caught.value


def test_a_client_and_a_server_of_which_one_alone_speaks_tls_are_told_which(tmp_path: Path):
    files = Files(tmp_path)
    ours = Tls(root_certificates=files.ca)
    with running(tmp_path) as plain:
        error = refused(plain.address, ours)
    assert isinstance(error, HandshakeFailed)
    assert "parle en clair et ce client en TLS" in str(error)
    with running(tmp_path, tls_certificate_file=files.certificate, tls_key_file=files.key) as secured:
        error = refused(secured.address, None)
        # A server at its limit of connections looks the same: worth another attempt.
        assert isinstance(error, ServerUnreachable)
        assert "attend sans doute TLS" in str(error)
        (tmp_path / "autre").mkdir()
        error = refused(secured.address, Tls(root_certificates=Files(tmp_path / "autre").ca))
        assert isinstance(error, HandshakeFailed)
        assert "n'est pas signé par les autorités données" in str(error)
        (tmp_path / "faux.pem").write_text("rien")
        assert "n'est pas du PEM" in str(refused(secured.address, Tls(root_certificates=tmp_path / "faux.pem")))
    files.renew("ailleurs.invalid")
    with running(tmp_path, tls_certificate_file=files.certificate, tls_key_file=files.key) as elsewhere:
        assert "n'est pas au nom de cette adresse" in str(refused(elsewhere.address, ours))


def test_a_name_without_a_machine_and_a_machine_without_a_server_are_told_apart():
    assert "le nom du serveur est inconnu" in str(refused("nulle-part.invalid:1", Tls()))
    assert "vérifiez l'adresse et que le serveur est démarré" in str(refused("127.0.0.1:1", None))


@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one process", "two"])
def test_a_taken_port_is_said_in_one_french_line_before_anything_is_opened(tmp_path: Path, options: list[str]):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = subprocess.run(
            [sys.executable, "-m", "solidarite_client", "serve", "--listen", address, *options,
             "--store", f"sqlite:///{tmp_path / 'a.db'}"],
            capture_output=True, text=True, timeout=60, env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        )  # fmt: skip
    assert ended.returncode == 1
    port = address.rpartition(":")[2]
    assert re.fullmatch(rf"Erreur : Le port {port} de 127\.0\.0\.1 est déjà pris[^\n]*--listen[^\n]*\n", ended.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("192.0.2.7:0", "n'est pas une adresse de cette machine"),
        ("nulle-part.invalid:1", "n'est pas connu de cette machine"),
    ],
)
def test_an_address_of_elsewhere_is_said(address: str, told: str):
    with pytest.raises(AddressError, match=told):
        refuse_unusable(address, "listen")


def test_a_port_that_others_share_is_taken_for_those_only_who_do_not():
    with socket.socket() as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind(("127.0.0.1", 0))
        shared.listen()
        address = f"127.0.0.1:{shared.getsockname()[1]}"
        refuse_unusable(address, "listen", shared=True)
        with pytest.raises(AddressError):
            refuse_unusable(address, "listen")


def test_a_server_that_compiles_for_long_says_so_and_one_that_does_not_is_silent(capsys: pytest.CaptureFixture[str]):
    from solidarite_server.bootstrap import _said_when_long

    with _said_when_long("compile", 0.0) as timer:
        timer.join(10)
    assert capsys.readouterr().err == "compile\n"
    with _said_when_long("compile", 60.0) as timer:
        pass
    timer.join(10)
    assert capsys.readouterr().err == ""


def test_the_key_that_a_postgresql_needs_is_named_by_option_variable_and_setting(capsys: pytest.CaptureFixture[str]):
    assert main(["simulate", "population", "--foyers", "1", "--store", "postgresql://personne/rien"]) == 1
    told = capsys.readouterr().err
    for way in ("--key-file", "SOLIDARITE_PSEUDONYM_KEY_FILE", "pseudonym_key_file"):
        assert way in told
