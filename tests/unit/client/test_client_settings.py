"""Each setting of the client has the effect that its documentation says. Those of uploads are in test_upload."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme
from pydantic import ValidationError
from solidarite_client import ClientSettings, SolidariteClient, Tls
from solidarite_client._settings import is_loopback
from solidarite_client.errors import (
    CallError,
    DeadlineExceeded,
    HandshakeFailed,
    InvalidRequest,
    Overloaded,
    ServerUnreachable,
)

from tests.unit.client.fake_service import FakeService, serving

DOCS = Path(__file__).parents[3] / "docs" / "fichiers.md"
ONE_TRY = {"attempts": 1}


@pytest.fixture
def service() -> Iterator[FakeService]:
    service = FakeService()
    with serving(service) as address:
        service.address = address
        yield service


def test_the_documentation_names_every_setting():
    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in ClientSettings.model_fields if f"`{name}`" not in text] == []


def test_every_setting_is_documented_where_it_stands():
    source = (Path(__file__).parents[3] / "client" / "solidarite_client" / "_settings.py").read_text(encoding="utf-8")
    for name in ClientSettings.model_fields:
        after = source.split(f"    {name}: ", 1)[1].split("\n", 1)[1]
        assert after.startswith('    """'), name


@pytest.mark.parametrize(
    "wrong",
    [{"attempts": 0}, {"batch_limit_records": 2001}, {"batches_in_flight": 0}, {"form": "xml"}, {"unknown": 1}],
    ids=str,
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        ClientSettings(**wrong)


def test_a_token_is_not_shown():
    assert "abc" not in repr(ClientSettings(token="abc"))


def test_an_attempt_takes_no_longer_than_its_limit(service):
    service.hold.clear()
    with (
        SolidariteClient(service.address, ClientSettings(call_timeout_seconds=0.2)) as client,
        pytest.raises(DeadlineExceeded),
    ):
        client.list_resource_records(nir="1")


def test_answers_are_bounded_in_size(service):
    service.faults.answer_bytes = 2 << 20
    with (
        SolidariteClient(service.address, ClientSettings(message_mib=1, **ONE_TRY)) as client,
        pytest.raises(Overloaded),
    ):
        client.list_resource_records(nir="1")
    with SolidariteClient(service.address, ClientSettings(message_mib=3)) as client:
        assert len(client.list_resource_records(nir="1")) == 1


@pytest.mark.parametrize(
    ("target", "loopback"),
    [
        ("127.0.0.1:50051", True), ("127.9.9.9:1", True), ("localhost:1", True), ("[::1]:1", True), ("::1", True),
        ("dns:///localhost:1", True), ("ipv4:127.0.0.1:1", True), ("unix:/run/a.sock", True),
        ("10.0.0.1:1", False), ("[2001:db8::1]:1", False), ("example.invalid:1", False), ("dns:///10.0.0.1:1", False),
        ("localhost.example.invalid:1", False), ("0.0.0.0:1", False), ("::1:443", False),
        ("127.0.0.1.example:1", False),
    ],
)  # fmt: skip
def test_loopback_is_this_machine_only(target, loopback):
    assert is_loopback(target) is loopback


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client = authority.issue_cert("source.invalid")
    client.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    return authority


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[str]:
    """An address that asks for a certificate of the authority."""
    server = authority.issue_cert("127.0.0.1", "localhost")
    pair = (server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())
    roots = authority.cert_pem.bytes()
    with serving(FakeService(), credentials=grpc.ssl_server_credentials([pair], roots, True)) as address:
        yield address


def call(address: str, tls: Tls | None) -> None:
    with SolidariteClient(address, ClientSettings(tls=tls, **ONE_TRY)) as client:
        client.list_resource_records(nir="1")


def test_a_source_is_known_by_its_certificate(secure, tmp_path):
    tls = Tls(
        root_certificates=tmp_path / "ca.pem",
        certificate_chain=tmp_path / "cert.pem",
        private_key=tmp_path / "key.pem",
    )
    with pytest.raises(InvalidRequest):  # the service's own answer: the connection stands
        call(secure, tls)


def test_without_the_certificates_that_are_asked_for_nothing_passes(secure, tmp_path):
    for tls in (None, Tls(root_certificates=tmp_path / "ca.pem"), Tls()):
        with pytest.raises((ServerUnreachable, HandshakeFailed)):
            call(secure, tls)


def test_half_an_identity_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="vont ensemble"):
        Tls(certificate_chain=tmp_path / "cert.pem")


def test_a_missing_certificate_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        call("127.0.0.1:1", Tls(root_certificates=tmp_path / "absent.pem"))


def test_errors_of_calls_share_one_base():
    assert issubclass(DeadlineExceeded, CallError)
