"""TLS: who gets in at which address, and certificates renewed while the server serves."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from solidarite_client.cli import main
from solidarite_server.bootstrap import RunningServer, SettingsError, start_server
from solidarite_server.settings import Settings


class Files:
    """An authority, a certificate of the server and one of a source, in a folder."""

    def __init__(self, folder: Path, name: str = "127.0.0.1") -> None:
        self.authority = trustme.CA()
        self.certificate, self.key, self.ca = folder / "serveur.pem", folder / "serveur.key", folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.renew(name)

    def renew(self, name: str) -> None:
        made = self.authority.issue_cert(name)
        made.private_key_pem.write_to_path(str(self.key))
        self.certificate.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))

    def source(self) -> grpc.ChannelCredentials:
        made = self.authority.issue_cert("source.invalid", common_name="etoile")
        return grpc.ssl_channel_credentials(
            self.authority.cert_pem.bytes(),
            made.private_key_pem.bytes(),
            b"".join(part.bytes() for part in made.cert_chain_pems),
        )

    def portal(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.authority.cert_pem.bytes())


@contextmanager
def running(folder: Path, **settings: object) -> Iterator[RunningServer]:
    chosen = Settings(listen="127.0.0.1:0", store=f"sqlite:///{folder / 'tls.db'}", **settings)  # type: ignore[arg-type]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start_server(chosen), loop).result(120)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0.2), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def answers(address: str, credentials: grpc.ChannelCredentials | None) -> bool:
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = (
        grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address, options)
    )
    with channel:
        try:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.RpcError as error:
            refused = error.code()
        else:
            return True
    assert refused is grpc.StatusCode.UNAVAILABLE
    return False


def served_name(address: str) -> str:
    """A name in the certificate that new connections are shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), 5) as raw, context.wrap_socket(raw) as secured:
        found = secured.getpeercert(binary_form=True)
    assert found is not None
    from cryptography import x509

    names = x509.load_der_x509_certificate(found).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return str(next(iter(names.value)).value)


# effect: tls_certificate_file, tls_key_file
def test_tls_refuses_plain_text_and_serves_whoever_trusts_the_authority(tmp_path: Path):
    files = Files(tmp_path)
    with running(tmp_path, tls_certificate_file=files.certificate, tls_key_file=files.key) as server:
        assert answers(server.address, files.portal())
        assert not answers(server.address, None)
        (tmp_path / "autre").mkdir()
        assert not answers(server.address, Files(tmp_path / "autre").portal())


# effect: tls_client_ca_file, listen_portals
def test_sources_show_a_certificate_and_portals_come_by_their_own_address(tmp_path: Path):
    files = Files(tmp_path)
    with running(
        tmp_path, tls_certificate_file=files.certificate, tls_key_file=files.key, tls_client_ca_file=files.ca,
        listen_portals="127.0.0.1:0",
    ) as server:  # fmt: skip
        assert answers(server.address, files.source())
        assert not answers(server.address, files.portal())
        assert answers(server.other_addresses[0], files.portal())


def test_versions_of_tls_before_1_2_are_refused(tmp_path: Path):
    files = Files(tmp_path)
    with running(tmp_path, tls_certificate_file=files.certificate, tls_key_file=files.key) as server:
        host, port = server.address.split(":")
        for version, accepted in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(files.ca)
            context.set_alpn_protocols(["h2"])
            context.set_ciphers("ALL:@SECLEVEL=0")
            with pytest.warns(DeprecationWarning, match="TLSv1_1") if not accepted else _quiet():
                context.minimum_version = context.maximum_version = version
            with socket.create_connection((host, int(port)), 5) as raw:
                if accepted:
                    context.wrap_socket(raw, server_hostname="127.0.0.1").close()
                else:
                    with pytest.raises(ssl.SSLError):
                        context.wrap_socket(raw, server_hostname="127.0.0.1")


@contextmanager
def _quiet() -> Iterator[None]:
    yield


def test_a_renewed_certificate_serves_new_connections_and_a_broken_one_does_not(tmp_path: Path):
    files = Files(tmp_path, "ancien.invalid")
    with running(tmp_path, tls_certificate_file=files.certificate, tls_key_file=files.key) as server:
        assert served_name(server.address) == "ancien.invalid"
        files.renew("nouveau.invalid")
        assert served_name(server.address) == "nouveau.invalid"
        files.certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\n")
        assert served_name(server.address) == "nouveau.invalid"
        files.renew("suivant.invalid")
        assert served_name(server.address) == "suivant.invalid"


REFUSED = {
    "key of another": "ne vont pas ensemble",
    "not there": "absent.pem ne peut pas être lu",
    "no authority": "cle.txt ne contient pas d'autorités",
    "alone": "TLS demande un certificat et sa clé",
    "without its key": "TLS demande un certificat et sa clé",
    "portals in clear": "demande TLS",
    "clear beyond loopback": "n'écoute que la machine elle-même",
    "anonymous beyond loopback": "n'écoute que la machine elle-même",
    "one port for both": "sont le même port",
    "one port of every address": "sont le même port",
    "portals at any port": "demande un port fixe",
    "page in front of TLS": "sert à développer",
    "no keys of tokens": "cle.txt n'est pas un jeu de clés",
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_settings_that_cannot_serve_are_refused_at_start_and_told_by_doctor(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    files = Files(tmp_path)
    (tmp_path / "autre").mkdir()
    other = Files(tmp_path / "autre")
    (tmp_path / "cle.txt").write_text("rien")
    pair = {"tls_certificate_file": files.certificate, "tls_key_file": files.key}
    settings: dict[str, object] = {
        "key of another": {"tls_certificate_file": files.certificate, "tls_key_file": other.key},
        "not there": {"tls_certificate_file": tmp_path / "absent.pem", "tls_key_file": files.key},
        "no authority": {**pair, "tls_client_ca_file": tmp_path / "cle.txt"},
        "without its key": {"tls_certificate_file": files.certificate},
        "anonymous beyond loopback": {"listen": "0.0.0.0:0", "allow_plaintext": True},
        "one port for both": {**pair, "listen": "127.0.0.1:50951", "listen_portals": "127.0.0.1:50951"},
        "one port of every address": {**pair, "listen": "127.0.0.1:50951", "listen_portals": "0.0.0.0:50951"},
        "portals at any port": {**pair, "listen_portals": "127.0.0.1:0", "workers": 2},
        "page in front of TLS": {**pair, "gateway_listen": "127.0.0.1:0"},
        "no keys of tokens": {"token_keys_file": tmp_path / "cle.txt"},
        "alone": {"tls_client_ca_file": files.ca},
        "portals in clear": {"listen_portals": "127.0.0.1:0"},
        "clear beyond loopback": {"listen": "0.0.0.0:0"},
    }[case]
    given = {"listen": "127.0.0.1:0", "store": f"sqlite:///{tmp_path / 'tls.db'}", **settings}
    with pytest.raises(SettingsError, match=REFUSED[case]):
        asyncio.run(start_server(Settings(**given)))  # type: ignore[arg-type]
    for name, value in given.items():
        monkeypatch.setenv(f"SOLIDARITE_{name.upper()}", str(value))
    capsys.readouterr()
    assert main(["doctor"]) == 1
    told = capsys.readouterr().out
    assert REFUSED[case] in told
    assert "→" in told
    assert not (tmp_path / "tls.db").exists()
