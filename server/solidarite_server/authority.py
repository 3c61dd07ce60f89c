"""A development authority in a directory: certificates, token keys, and the settings file that uses them.

A body with its own PKI and its own issuer of tokens needs none of this: it gives the same files to the same settings.
"""

from __future__ import annotations

import ipaddress
import os
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from solidarite_server.domain.identity import SOURCE_URN
from solidarite_server.services.tokens import key_set_bytes, new_signing_key, read_private_keys, sign

AUTHORITY, SERVER, SOURCES = "authority", "server", "sources"
PUBLIC_KEYS, PRIVATE_KEYS, SETTINGS = "tokens.jwks.json", "tokens.private.jwks.json", "solidarite.toml"
ISSUER, AUDIENCE = "solidarite-auth", "solidarite"
_AUTHORITY_DAYS = 1_825
_HOST = re.compile(r"(?=.{1,64}$)(?:\*\.)?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_SOURCE = re.compile(r"[\w.@-]{1,64}", re.ASCII)


class AuthorityError(ValueError):
    """What cannot be made or found, in French."""


def create(directory: Path, hosts: Sequence[str], store: Path) -> None:
    """Make everything that a TLS server with tokens needs; AuthorityError where an authority stands already."""
    if (directory / f"{AUTHORITY}.key").exists():
        raise AuthorityError(f"Une autorité existe déjà dans {directory.name} : rien n'a été changé.")
    names = [_host(host) for host in hosts]
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Autorité de développement solidarite-source")])
    authority = (
        _builder(name, name, key, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_pair(directory, AUTHORITY, authority, key)
    _issue(
        directory,
        directory / SERVER,
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])]),
        names,
        ExtendedKeyUsageOID.SERVER_AUTH,
        397,
    )
    signing = new_signing_key(_kid())
    write_private(directory / PRIVATE_KEYS, key_set_bytes([signing], private=True))
    (directory / PUBLIC_KEYS).write_bytes(key_set_bytes([signing], private=False))
    (directory / SETTINGS).write_text(_settings(directory.resolve(), store.resolve()), "utf-8")


def certify_source(directory: Path, source_id: str, days: int) -> Path:
    """Make the key and the certificate of a source; the path of the certificate."""
    if not _SOURCE.fullmatch(source_id):
        raise AuthorityError("Une source se nomme avec 1 à 64 lettres sans accent, chiffres, points, tirets ou « @ ».")
    target = directory / SOURCES / source_id
    target.parent.mkdir(mode=0o700, exist_ok=True)
    _issue(
        directory,
        target,
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, source_id)]),
        [x509.UniformResourceIdentifier(SOURCE_URN + quote(source_id, safe=""))],
        ExtendedKeyUsageOID.CLIENT_AUTH,
        days,
    )
    return target.with_name(target.name + ".pem")


def make_token(
    directory: Path,
    *,
    kind: str,
    subject: str,
    scopes: Sequence[str],
    dossier: str | None,
    purpose: str,
    seconds: int,
) -> str:
    """Sign a token with the newest key."""
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "kind": kind, "scope": " ".join(scopes),
        "iat": now, "nbf": now, "exp": now + seconds,
    }  # fmt: skip
    if dossier is not None:
        claims["dossier"] = dossier
    if purpose:
        claims["purpose"] = purpose
    return sign(read_private_keys(directory / PRIVATE_KEYS)[0], claims)


def rotate_token_keys(directory: Path, kept: int) -> tuple[str, list[str]]:
    """Add a signing key and drop the oldest; the new `kid`, and those whose tokens are refused from now on."""
    keys = read_private_keys(directory / PRIVATE_KEYS)
    new = new_signing_key(_kid())
    dropped = [str(key.kid) for key in keys[kept:]]
    remaining = [new, *keys[:kept]]
    # The public keys first: no token is signed by a key that no server knows.
    _replace(directory / PUBLIC_KEYS, key_set_bytes(remaining, private=False), 0o644)
    _replace(directory / PRIVATE_KEYS, key_set_bytes(remaining, private=True), 0o600)
    return str(new.kid), dropped


def _issue(
    directory: Path,
    target: Path,
    subject: x509.Name,
    names: Sequence[x509.GeneralName],
    usage: x509.ObjectIdentifier,
    days: int,
) -> None:
    try:
        authority = x509.load_pem_x509_certificate((directory / f"{AUTHORITY}.pem").read_bytes())
        signer = serialization.load_pem_private_key((directory / f"{AUTHORITY}.key").read_bytes(), None)
    except (OSError, ValueError):
        raise AuthorityError(f"{directory.name} ne contient pas d'autorité : solidarite auth init.") from None
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise AuthorityError("La clé de l'autorité n'est pas celle que fait solidarite auth init.")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(subject, authority.subject, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )  # fmt: skip
    write_pair(target.parent, target.name, certificate, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # clocks of a network differ
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not _HOST.fullmatch(host):
            raise AuthorityError(
                "Un serveur se nomme par une adresse IP ou un nom de domaine : 64 lettres sans accent, chiffres, "
                "points et tirets au plus."
            ) from None
        return x509.DNSName(host)


def _kid() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")


def write_pair(directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """Write NAME.pem and NAME.key."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip
    write_private(directory / f"{name}.key", pem)
    (directory / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def write_private(path: Path, data: bytes) -> None:
    """Write a file that its owner alone reads, from its first byte on."""
    _replace(path, data, 0o600)


def _replace(path: Path, data: bytes, mode: int) -> None:
    """Write a file whole: a reader finds the old one or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def _settings(directory: Path, store: Path) -> str:
    return f"""\
# Serveur de développement avec TLS, certificats de sources et jetons : solidarite serve --config {directory / SETTINGS}
store = "sqlite:///{store}"

# Les sources se présentent par leur certificat (mTLS) sur la première adresse,
# les portails et les agents par leur jeton sur la seconde.
listen = "127.0.0.1:50051"
listen_portals = "127.0.0.1:50052"
tls_certificate_file = "{directory / (SERVER + ".pem")}"
tls_key_file = "{directory / (SERVER + ".key")}"
tls_client_ca_file = "{directory / (AUTHORITY + ".pem")}"

token_keys_file = "{directory / PUBLIC_KEYS}"
token_issuer = "{ISSUER}"
token_audience = "{AUDIENCE}"
"""
