"""Certificates of sources made to deceive, all signed by the right authority: who is named is said once, exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from solidarite.v1 import resource_record_pb2
from solidarite_server.domain.identity import SOURCE_URN

from tests.security.door import OTHER_SOURCE, SOURCE, Door, call

POSITION = "solidarite.v1.ResourceRecordService/GetIngestionPosition"


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier._init_without_validation(text)


@contextmanager
def showing(door: Door, common_names: Sequence[str], names: Sequence[x509.GeneralName]) -> Iterator[grpc.Channel]:
    """A channel that shows a certificate of the door's authority with these names."""
    signer = serialization.load_pem_private_key((door.auth / "authority.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    root = (door.auth / "authority.pem").read_bytes()
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names]))
        .issuer_name(x509.load_pem_x509_certificate(root).subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(minutes=10))
    )
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    credentials = grpc.ssl_channel_credentials(root, private, made.sign(signer, hashes.SHA256()).public_bytes(pem))
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(door.server.address, credentials, options) as channel:
        yield channel


def admitted(channel: grpc.Channel, source: str) -> str:
    """`ok`, or the status of a call that names a source."""
    answer = call(channel, POSITION, resource_record_pb2.GetIngestionPositionRequest(source_id=source, upload_id="x"))
    return answer.code().name if isinstance(answer, grpc.RpcError) else "ok"


@pytest.mark.parametrize(
    ("common_names", "names", "named"),
    [
        ([SOURCE], [], SOURCE),
        (["quelconque"], [uri(SOURCE_URN + SOURCE)], SOURCE),
        (["quelconque"], [uri(SOURCE_URN + "%65toile")], SOURCE),
        # The URI says it, whatever the CN; what is not the URI does not.
        ([SOURCE], [uri(SOURCE_URN + OTHER_SOURCE)], OTHER_SOURCE),
        ([OTHER_SOURCE], [x509.DNSName._init_without_validation(SOURCE_URN + SOURCE)], OTHER_SOURCE),
        ([OTHER_SOURCE], [x509.RFC822Name._init_without_validation(SOURCE_URN + SOURCE)], OTHER_SOURCE),
        # Several, or none that can be read: nobody.
        ([SOURCE, OTHER_SOURCE], [], None),
        (["quelconque"], [uri(SOURCE_URN + SOURCE), uri(SOURCE_URN + OTHER_SOURCE)], None),
        ([SOURCE], [uri(SOURCE_URN)], None),
        (["quelconque"], [uri(SOURCE_URN + SOURCE + "%FF")], None),
        # A NUL, at which C ends a text.
        ([SOURCE + "\0.ailleurs"], [], None),
        (["quelconque"], [uri(SOURCE_URN + SOURCE + "\0.ailleurs")], None),
        (["quelconque"], [uri(SOURCE_URN + SOURCE + "%00.ailleurs")], None),
        # Neither a wildcard nor a lookalike is the source.
        (["*"], [], "*"),
        (["еtoile"], [], "еtoile"),
    ],
)  # fmt: skip
def test_a_certificate_is_the_one_source_that_it_names(
    common_names: list[str], names: list[x509.GeneralName], named: str | None, door: Door
):
    with showing(door, common_names, names) as channel:
        for source in (SOURCE, OTHER_SOURCE):
            expected = "UNAUTHENTICATED" if named is None else "ok" if source == named else "PERMISSION_DENIED"
            assert admitted(channel, source) == expected
        if named is not None:
            assert admitted(channel, named) == "ok"
