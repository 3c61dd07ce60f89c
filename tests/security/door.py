"""A real TLS server with an authority of its own, and every credential that somebody may knock with."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from joserfc import jwt
from joserfc.jwk import OctKey
from solidarite import v1
from solidarite_server import authority
from solidarite_server.bootstrap import RunningServer, start_server
from solidarite_server.domain.identity import BenefitScope, Scope
from solidarite_server.ports import Clock
from solidarite_server.services.tokens import new_signing_key, read_private_keys
from solidarite_server.settings import Settings

OWN, OTHER, UNKNOWN = "0000001", "0000002", "9999999"
SOURCE, OTHER_SOURCE = "etoile", "comete"
ALL_SCOPES = tuple(scope.value for scope in Scope)
ALL_BENEFITS = tuple(benefit.value[0] for benefit in BenefitScope)

# Found, not listed: a service in a new file of the contract is asked for its row too.
_CONTRACT = [found.name for found in iter_modules(v1.__path__) if found.name.endswith("_pb2")]
_FILES = [*(import_module(f"{v1.__name__}.{name}") for name in _CONTRACT), health_pb2, reflection_pb2]


def services() -> list[ServiceDescriptor]:
    """Every service that the server registers, from the contract's own descriptors."""
    return [service for file in _FILES for service in file.DESCRIPTOR.services_by_name.values()]


def methods() -> dict[str, MethodDescriptor]:
    """Every RPC, by full name."""
    return {f"{service.full_name}/{m.name}": m for service in services() for m in service.methods}


@dataclass
class Door:
    """The server, the authority behind it, and channels kept open."""

    folder: Path
    server: RunningServer
    _channels: dict[str, grpc.Channel] = field(default_factory=dict)

    @property
    def auth(self) -> Path:
        return self.folder / "auth"

    def channel(self, source: str | None = None, authority_folder: Path | None = None) -> grpc.Channel:
        """To the sources' address with a certificate, or to the portals' address without."""
        key = f"{source}@{authority_folder}"
        if key not in self._channels:
            root = (self.auth / "authority.pem").read_bytes()
            if source is None:
                credentials = grpc.ssl_channel_credentials(root)
                address = self.server.other_addresses[0]
            else:
                made = authority.certify_source(authority_folder or self.auth, source, 1)
                credentials = grpc.ssl_channel_credentials(
                    root, made.with_suffix(".key").read_bytes(), made.read_bytes()
                )
                address = self.server.address
            self._channels[key] = grpc.secure_channel(address, credentials, [("grpc.use_local_subchannel_pool", 1)])
        return self._channels[key]

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def token(self, **changes: Any) -> str:
        """A token of an agent that may do everything; None as a value leaves a claim out."""
        return sign_claims(read_private_keys(self.auth / authority.PRIVATE_KEYS)[0], claims(**changes))


@contextmanager
def running_door(folder: Path, clock: Clock | None = None, **settings: Any) -> Iterator[Door]:
    """Serve a store in `folder` with TLS, certificates of sources and tokens, as `auth init` sets it up."""
    authority.create(folder / "auth", ["127.0.0.1"], folder / "porte.db")
    auth = folder / "auth"
    chosen = Settings(
        listen="127.0.0.1:0",
        listen_portals="127.0.0.1:0",
        store=f"sqlite:///{folder / 'porte.db'}",
        tls_certificate_file=auth / "server.pem",
        tls_key_file=auth / "server.key",
        tls_client_ca_file=auth / "authority.pem",
        token_keys_file=auth / authority.PUBLIC_KEYS,
        declaration_calendar="LIBRE",
        **settings,
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start_server(chosen, clock), loop).result(120)
    door = Door(folder, server)
    try:
        yield door
    finally:
        door.close()
        asyncio.run_coroutine_threadsafe(server.stop(0.2), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token of an agent says, with changes."""
    now = int(time.time())
    said = {
        "iss": authority.ISSUER, "aud": authority.AUDIENCE, "sub": "guichet", "kind": "agent",
        "scope": " ".join((*ALL_SCOPES, *ALL_BENEFITS)), "iat": now, "nbf": now, "exp": now + 600,
    }  # fmt: skip
    return {name: value for name, value in {**said, **changes}.items() if value is not None}


def sign_claims(key: Any, said: Mapping[str, Any], *, alg: str = "ES256", kid: str | None = None) -> str:
    """Sign with any algorithm, under any name of key: what an attacker may try too."""
    header = {"alg": alg, "kid": kid or str(key.kid)}
    if alg == "none":
        parts = (json.dumps(part).encode() for part in ({"typ": "JWT", **header}, dict(said)))
        return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."
    return jwt.encode(header, dict(said), key, algorithms=[alg])


def forged_tokens(door: Door) -> dict[str, str]:
    """Tokens that must not be accepted, by what is wrong with them."""
    now = int(time.time())
    key = read_private_keys(door.auth / authority.PRIVATE_KEYS)[0]
    # Key confusion: the public key, which everybody may know, taken for a shared secret.
    public = OctKey.import_key(key.as_pem(private=False).replace(b"-----", b"....."))
    public_jwk = OctKey.import_key(json.dumps(key.as_dict(private=False)))
    stranger = new_signing_key(str(key.kid))
    return {
        "expired": door.token(iat=now - 1_000, nbf=now - 1_000, exp=now - 100),
        "not yet valid": door.token(nbf=now + 300),
        "made in the future": door.token(iat=now + 300, nbf=now, exp=now + 600),
        "too long": door.token(exp=now + 1_000_000),
        "without an end": door.token(exp=None),
        "other issuer": door.token(iss="ailleurs"),
        "other audience": door.token(aud="ailleurs"),
        "no audience": door.token(aud=None),
        "no subject": door.token(sub=None),
        "unknown kind": door.token(kind="source"),
        "portal without a dossier": door.token(kind="portail"),
        "empty dossier": door.token(kind="portail", dossier=""),
        "dates as text": door.token(exp=str(now + 600)),
        "unknown key": sign_claims(new_signing_key("autre"), claims()),
        "other authority": sign_claims(stranger, claims()),
        "algorithm none": sign_claims(key, claims(), alg="none"),
        "public key as a secret": sign_claims(public, claims(), alg="HS256", kid=str(key.kid)),
        "public JWK as a secret": sign_claims(public_jwk, claims(), alg="HS256", kid=str(key.kid)),
        "changed after signing": _changed(door.token(kind="portail", dossier=OTHER), door.token()),
        "signature cut off": door.token().rpartition(".")[0] + ".",
        "not a token": "aaa.bbb.ccc",
        "huge": "a" * 5_000,
    }


def _changed(token: str, wanted: str) -> str:
    header, _, signature = token.split(".")
    return ".".join((header, wanted.split(".")[1], signature))


def request_of(method: MethodDescriptor, *, dossier: str = OWN, source: str = SOURCE) -> Any:
    """The smallest request that names a dossier or a source, where the RPC has one."""
    message = message_factory.GetMessageClass(method.input_type)()
    fields = method.input_type.fields_by_name
    if "numero_allocataire" in fields:
        message.numero_allocataire = dossier
    if "source_id" in fields:
        message.source_id = source
    if method.name == "UpsertFoyer":
        message.foyer.numero_allocataire = dossier
    if "mois_declaration" in fields:
        message.mois_declaration.year, message.mois_declaration.month = 2026, 11
    if "batch_sequence" in fields:
        message.batch_sequence = 1
    if "upload_id" in fields:
        message.upload_id = "envoi"
    return message


def call(
    channel: grpc.Channel, name: str, request: Any, metadata: tuple[tuple[str, str], ...] = ()
) -> grpc.RpcError | Any:
    """The first answer, or the error; None for a stream that ends without an answer."""
    method = methods()[name]
    make = getattr(
        channel,
        f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}",
    )
    rpc = make(
        f"/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    try:
        answer = rpc(iter([request]) if method.client_streaming else request, metadata=metadata, timeout=20)
        if not method.server_streaming:
            return answer
        first = next(iter(answer), None)
        answer.cancel()
        return first
    except grpc.RpcError as error:
        return error


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)
