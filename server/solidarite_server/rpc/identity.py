"""Who calls: the identity behind a call, checked against the table of rights before any handler runs.

A source is known by the certificate of its connection, a portal or an agent by its token, and everybody on this
machine by the development identity when none is configured. A dossier that the caller may not see is replaced in the
request by one that cannot exist: the handler then does the same work and gives the same answer as for an unknown one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from solidarite_server.domain.errors import PermissionRefused, Unauthenticated
from solidarite_server.domain.identity import (
    ALL_BENEFITS,
    SOURCE_URN,
    Identity,
    Kind,
    development_identity,
    source_identity,
)
from solidarite_server.ports import AuditLine, Clock
from solidarite_server.rpc.admission import Admission
from solidarite_server.services.audit import AuditTrail, dossier_subject
from solidarite_server.services.rights import PUBLIC, RIGHTS, Owner, Right, check, owns

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]

_NO_DOSSIER = ""
"""No dossier has an empty number."""
_BENEFIT = "solidarite.v1.Benefit"

_caller: ContextVar[Identity] = ContextVar("caller")
_lines: ContextVar[_Lines | None] = ContextVar("lines", default=None)


class _Lines:
    """The audit lines of a change: the handler takes them into its commit."""

    __slots__ = ("lines", "taken")

    def __init__(self, *lines: AuditLine) -> None:
        self.lines, self.taken = lines, False


def caller() -> Identity:
    """The identity behind the call in progress."""
    return _caller.get()


def lines_of_the_change() -> tuple[AuditLine, ...]:
    """The audit lines of the call in progress, or of the batch read last, for the commit of what it changes.

    To be asked for just before that commit.
    """
    held = _lines.get()
    assert held is not None
    held.taken = True
    return held.lines


class Verifier(Protocol):
    """What turns a token into an identity."""

    def identity(self, token: str) -> Identity:
        """Raises Unauthenticated."""
        ...


class Door:
    """Finds the identity of a call."""

    def __init__(self, verifier: Verifier | None, clock: Clock, *, open_to_all: bool) -> None:
        """`open_to_all`: no identity is configured, everybody is the development identity."""
        self._verifier = verifier
        self._clock = clock
        self._open = development_identity() if open_to_all else None

    def identity(self, context: Context) -> Identity:
        """Who calls; Unauthenticated when nothing accepted says it."""
        if self._open is not None:
            return self._open
        token = _bearer(context)
        shown = context.auth_context().get("x509_pem_cert")
        if shown is not None:
            if token is not None:
                raise Unauthenticated("Une source se présente par son certificat seul, sans jeton.")
            source, end_us = _certified(next(iter(shown)))
            if self._clock.now_us() > end_us:
                # The handshake looked at it once; its connection may be kept open for ever.
                raise Unauthenticated("Le certificat de cette source a expiré : demandez-en un nouveau.")
            return source
        if token is None or self._verifier is None:
            raise Unauthenticated("Cet appel demande une identité : un jeton, ou le certificat d'une source.")
        return self._verifier.identity(token)


def _bearer(context: Context) -> str | None:
    found = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    if not found:
        return None
    scheme, _, token = (found[0] if isinstance(found[0], str) else "").partition(" ")
    if len(found) > 1 or scheme.lower() != "bearer" or not token:
        raise Unauthenticated("L'identité s'écrit : authorization: Bearer JETON, une seule fois.")
    return token.strip()


@lru_cache(maxsize=1_024)
def _certified(pem: bytes) -> tuple[Identity, int]:
    """The source of a certificate that the handshake accepted, and until when it holds (µs since 1970).

    Read from the certificate itself: what gRPC says of it ends at a NUL, holds the first CN only, and does not tell a
    URI from a mail address.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        except x509.ExtensionNotFound:
            uris = []
        found = [unquote(uri.removeprefix(SOURCE_URN), errors="strict") for uri in uris if uri.startswith(SOURCE_URN)]
        if not found:
            found = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except ValueError:
        found = []
    if len(found) != 1 or not found[0] or not found[0].isprintable():
        raise Unauthenticated("Ce certificat ne nomme pas une source, et une seule.")
    return source_identity(found[0]), int(certificate.not_valid_after_utc.timestamp() * 1_000_000)


class IdentityInterceptor(grpc.aio.ServerInterceptor):
    """Lets a call reach its handler once its identity may make it; stands inside the error interceptor."""

    def __init__(self, door: Door, admission: Admission, trail: AuditTrail, *, durable_reads: bool) -> None:
        self._door = door
        self._admission = admission
        self._trail = trail
        self._durable_reads = durable_reads

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        # The stubs describe the handlers of the synchronous server: those of asyncio are left to Any.
        handler: Any = await continuation(handler_call_details)
        method = handler_call_details.method.lstrip("/")
        if handler is None or method in PUBLIC:
            return handler
        checks = _Checks(self._door, RIGHTS.get(method), self._trail, durable_reads=self._durable_reads)
        if handler.response_streaming:
            inner_stream = handler.unary_stream or handler.stream_stream

            async def streaming(request: Any, context: Context) -> AsyncIterator[Any]:
                identity = self._door.identity(context)
                with self._place(identity):
                    async with checks:
                        checked = await checks.admitted(identity, context, request, streamed=handler.request_streaming)
                        async for response in inner_stream(checked, context):
                            self._door.identity(context)  # a credential that ended meanwhile is told nothing more
                            yield _seen_by(identity, response)

            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(streaming, handler.request_deserializer, handler.response_serializer)
        inner = handler.unary_unary or handler.stream_unary

        async def single(request: Any, context: Context) -> Any:
            identity = self._door.identity(context)
            async with checks:
                checked = await checks.admitted(identity, context, request, streamed=handler.request_streaming)
                return _seen_by(identity, await inner(checked, context))

        make = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make(single, handler.request_deserializer, handler.response_serializer)

    def _place(self, identity: Identity) -> AbstractContextManager[None]:
        # Each source for itself; portals together, and agents: their tokens are many, their front end is one.
        holder = identity.actor if identity.kind is Kind.SOURCE else identity.kind.value
        return self._admission.stream(holder, alone=identity.kind is Kind.DEVELOPPEMENT)


class _Checks:
    """The checks of one RPC, and its audit line; to be entered around them and the handler."""

    def __init__(self, door: Door, right: Right | None, trail: AuditTrail, *, durable_reads: bool) -> None:
        self._door = door
        self._right = right
        self._trail = trail
        self._durable = durable_reads or (right is not None and right.changes)
        self._with_change = right is not None and right.line_with_change

    async def admitted(self, identity: Identity, context: Context, request: Any, *, streamed: bool) -> Any:
        """The request (or the stream of requests) as the handler may see it."""
        right = self._right
        if right is None:
            raise PermissionRefused("Cet appel n'est ouvert à aucune identité.")
        check(right, identity)
        _caller.set(identity)
        if streamed:
            if not right.entries:
                await self._audit(right, identity, "*")
            return self._each(right, identity, request, context)
        return await self._one(right, identity, request)

    async def _one(self, right: Right, identity: Identity, request: Any) -> Any:
        if not right.field:
            await self._audit(right, identity, "*")
            return request
        *path, name = right.field.split(".")
        holder = request
        for step in path:
            holder = getattr(holder, step)
        named = getattr(holder, name)
        owned = owns(right, identity, named)
        # The same line for what is refused and for what does not exist, or their times would tell them apart.
        await self._audit(right, identity, dossier_subject(named), "" if owned else "REFUSED_")
        if not owned:
            if right.owner is Owner.SOURCE:
                # Nothing is looked up: an unknown source and another's are told alike.
                raise PermissionRefused(
                    "Une source n'envoie et ne lit que ce qui est à elle : source_id doit être celui du certificat.",
                    field=right.field,
                )
            if right.creates:
                raise PermissionRefused("Ce jeton n'ouvre qu'un dossier, et ce n'est pas celui-ci.", field=right.field)
            setattr(holder, name, _NO_DOSSIER)
        return request

    async def _each(
        self, right: Right, identity: Identity, requests: AsyncIterator[Any], context: Context
    ) -> AsyncIterator[Any]:
        async for request in requests:
            self._door.identity(context)  # a credential that ended meanwhile brings nothing more
            if right.entries:
                subjects = [dossier_subject(entry.numero_allocataire) for entry in getattr(request, right.entries)]
                _lines.set(_Lines(*(_line(right, identity, subject) for subject in subjects)))
            yield await self._one(right, identity, request) if right.field else request

    async def _audit(self, right: Right, identity: Identity, subject: str, prefix: str = "") -> None:
        if right.action:
            line = _line(right, identity, subject, prefix)
            if self._with_change:
                _lines.set(_Lines(line))
                return
            await written(self._trail, line, durable=self._durable)

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Write the lines of a change that came to nothing: a refusal tells of the dossier too."""
        held = _lines.get()
        if error is None or not self._with_change or held is None or held.taken:
            return
        lines = lines_of_the_change()
        for place, line in enumerate(lines, start=1):
            # Lines are written in order: once the last one is durable, all are. Who has left is not waited for.
            await written(self._trail, line, durable=place == len(lines) and isinstance(error, Exception))


def _line(right: Right, identity: Identity, subject: str, prefix: str = "") -> AuditLine:
    return AuditLine(identity.actor, prefix + right.action, subject, identity.purpose or right.purpose)


async def written(trail: AuditTrail, line: AuditLine, *, durable: bool) -> None:
    """Hand a line to the trail; with `durable`, come back once it cannot be lost."""
    future = trail.write(line, durable=durable)
    if future is not None:
        await asyncio.wrap_future(future)


# What a token limited to one benefit sees of an answer.


def _seen_by(identity: Identity, response: Any) -> Any:
    if identity.benefits != ALL_BENEFITS and identity.scopes:
        _leave_out(response, {benefit.value[1] for benefit in identity.benefits})
    return response


def _leave_out(message: Any, shown: set[int]) -> None:
    """Remove, at any depth, the messages about a benefit that is not shown."""
    for field in _message_fields(message.DESCRIPTOR):
        if not field.is_repeated:
            if message.HasField(field.name):
                _leave_out(getattr(message, field.name), shown)
            continue
        held = getattr(message, field.name)
        if field.message_type is not None and _is_about_a_benefit(field.message_type):
            kept = [entry for entry in held if entry.benefit in shown]
            del held[:]
            held.extend(kept)
        for entry in held:
            _leave_out(entry, shown)


def _message_fields(descriptor: Descriptor) -> Iterator[FieldDescriptor]:
    for field in descriptor.fields:
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            yield field


def _is_about_a_benefit(descriptor: Descriptor) -> bool:
    field = descriptor.fields_by_name.get("benefit")
    return field is not None and field.enum_type is not None and field.enum_type.full_name == _BENEFIT
