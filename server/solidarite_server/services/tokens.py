"""Signed tokens of portals and agents (JWT): made by `solidarite auth token`, or by any issuer that shares its keys.

The server holds public keys only, read again when their file changes: a key added is accepted, a key removed refused,
without a restart. Algorithms are a fixed list of asymmetric ones: neither `none` nor a shared secret can be named.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, RSAKey

from solidarite_server.domain.errors import Unauthenticated
from solidarite_server.domain.identity import BenefitScope, Identity, Kind, Scope
from solidarite_server.domain.nir import holds_nir
from solidarite_server.ports import Clock

ALGORITHMS = ("ES256", "ES384", "PS256")
"""Signatures accepted; a key serves one of them only."""
_KEY_KINDS: Mapping[str, type[Key]] = {"ES256": ECKey, "ES384": ECKey, "PS256": RSAKey}
MAX_TOKEN_BYTES = 4_096
MAX_NAME = 64
_KEPT_TOKENS = 10_000
_KEYS_SECONDS = 1.0
_log = structlog.get_logger("solidarite.tokens")
_REFUSED = "Ce jeton n'est pas accepté : demandez-en un à l'exploitant (solidarite auth token)."


class KeySetError(ValueError):
    """A file of keys that cannot be used, said in French."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say."""

    issuer: str
    audience: str
    leeway_seconds: int
    """Difference of clocks tolerated on `exp`, `nbf` and `iat`."""
    lifetime_seconds: int
    """Longest time between `iat` and `exp`."""


class TokenVerifier:
    """Turns a token into an identity; Unauthenticated when it is not accepted."""

    def __init__(self, keys_file: Path, rules: TokenRules, clock: Clock) -> None:
        """KeySetError when the file holds no usable public key."""
        self._keys_file = keys_file
        self._rules = rules
        self._clock = clock
        self._keys = read_public_keys(keys_file)
        self._stamp = self._told = _stamp(keys_file)
        self._looked_at = time.monotonic()
        self._guard = threading.Lock()
        self._known: OrderedDict[str, tuple[Identity, int, int]] = OrderedDict()

    def identity(self, token: str) -> Identity:
        """Who the token stands for, at this instant."""
        self._follow_file()
        now = self._clock.now_us() // 1_000_000
        with self._guard:
            known = self._known.get(token)
        if known is None:
            known = self._verified(token, now)
            with self._guard:
                self._known[token] = known
                if len(self._known) > _KEPT_TOKENS:
                    self._known.popitem(last=False)
        identity, not_before, expires = known
        # A token seen before is not verified again, but its hours are.
        if now > expires + self._rules.leeway_seconds:
            raise Unauthenticated("Ce jeton a expiré : demandez-en un nouveau.")
        if now < not_before - self._rules.leeway_seconds:
            raise Unauthenticated("Ce jeton n'est pas encore valable : vérifiez l'heure de la machine.")
        return identity

    def _follow_file(self) -> None:
        if time.monotonic() - self._looked_at < _KEYS_SECONDS:
            return
        self._looked_at = time.monotonic()
        stamp = _stamp(self._keys_file)
        if stamp == self._stamp or stamp is None:
            return
        try:
            keys = read_public_keys(self._keys_file)
        except KeySetError as error:
            # Half written: the keys held go on serving until it can be read. Left so, a key taken away still opens.
            if stamp != self._told:
                self._told = stamp
                _log.error("token_keys_refused", detail=str(error))
            return
        with self._guard:
            self._keys, self._stamp = keys, stamp
            self._known.clear()
        _log.info("token_keys_reloaded")

    def _verified(self, token: str, now: int) -> tuple[Identity, int, int]:
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthenticated(_REFUSED)
        try:
            header = jws.extract_compact(token.encode("ascii")).headers()
            key = self._keys[header["kid"]]
            algorithm = str(key.as_dict()["alg"])
            claims = jwt.decode(token, key, algorithms=[algorithm]).claims
        except (JoseError, ValueError, KeyError, TypeError, RecursionError):
            raise Unauthenticated(_REFUSED) from None
        return self._identity(claims, now)

    def _identity(self, claims: Mapping[str, Any], now: int) -> tuple[Identity, int, int]:
        rules = self._rules
        issued, expires = claims.get("iat"), claims.get("exp")
        not_before = claims.get("nbf", issued)
        audiences = claims.get("aud")
        subject, kind, dossier = claims.get("sub"), claims.get("kind"), claims.get("dossier")
        purpose = claims.get("purpose", "")
        accepted = (
            claims.get("iss") == rules.issuer
            and (audiences == rules.audience or (isinstance(audiences, list) and rules.audience in audiences))
            and all(type(instant) is int for instant in (issued, expires, not_before))
            and 0 < expires - issued <= rules.lifetime_seconds  # type: ignore[operator]
            and issued <= now + rules.leeway_seconds  # type: ignore[operator]
            and _is_traced(subject)
            and kind in (Kind.PORTAIL.value, Kind.AGENT.value)
            and (_is_traced(dossier) if "dossier" in claims else kind == Kind.AGENT.value)
            and isinstance(claims.get("scope"), str)
            and (purpose == "" or _is_traced(purpose))
        )
        if not accepted:
            raise Unauthenticated(_REFUSED)
        words = set(claims["scope"].split())
        scopes = frozenset(scope for scope in Scope if scope.value in words)
        benefits = frozenset(benefit for benefit in BenefitScope if benefit.value[0] in words)
        identity = Identity(Kind(kind), str(subject), scopes, benefits, dossier, purpose)
        return identity, int(not_before), int(expires)  # type: ignore[arg-type]


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()


def _is_traced(value: object) -> bool:
    """Whether a claim may go into the audit trail as it is: it names no citizen."""
    return _is_name(value) and not holds_nir(str(value))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_public_keys(path: Path) -> dict[str, Key]:
    """Public keys by `kid`; KeySetError when the file is not a JWK set of public keys, each with its `alg`."""
    try:
        entries = json.loads(path.read_bytes())["keys"]
    except OSError:
        raise KeySetError(f"Le fichier de clés {path.name} ne peut pas être lu.") from None
    except (ValueError, KeyError, TypeError):
        raise KeySetError(f"{path.name} n'est pas un jeu de clés (JWK Set).") from None
    found: dict[str, Key] = {}
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("alg") not in _KEY_KINDS or not _is_name(entry.get("kid")):
            raise KeySetError(
                f"Chaque clé de {path.name} porte un « kid » et un « alg » parmi {', '.join(ALGORITHMS)}."
            )
        if "d" in entry:
            raise KeySetError(f"{path.name} contient une clé privée : le serveur ne reçoit que des clés publiques.")
        if entry["kid"] in found:
            raise KeySetError(f"Deux clés de {path.name} portent le même « kid » : chacune a le sien.")
        try:
            found[entry["kid"]] = _KEY_KINDS[entry["alg"]].import_key(entry)
        except (JoseError, ValueError, KeyError, TypeError):
            raise KeySetError(f"Une clé de {path.name} ne peut pas être lue.") from None
    if not found:
        raise KeySetError(f"{path.name} ne contient aucune clé.")
    return found


# Making keys and tokens: for a development authority, and for bodies without an issuer of their own.


def new_signing_key(kid: str) -> ECKey:
    """A new private key, ES256."""
    return ECKey.generate_key("P-256", {"kid": kid, "alg": "ES256", "use": "sig"})


def key_set_bytes(keys: Sequence[Key], *, private: bool) -> bytes:
    """A JWK set as a file holds it."""
    return json.dumps(KeySet(list(keys)).as_dict(private=private), indent=2).encode() + b"\n"


def read_private_keys(path: Path) -> list[Key]:
    """The signing keys, newest first."""
    try:
        return [ECKey.import_key(entry) for entry in json.loads(path.read_bytes())["keys"]]
    except OSError:
        raise KeySetError(f"Le fichier de clés {path.name} ne peut pas être lu.") from None
    except (JoseError, ValueError, KeyError, TypeError):
        raise KeySetError(f"{path.name} n'est pas un jeu de clés de signature (JWK Set).") from None


def sign(key: Key, claims: Mapping[str, Any]) -> str:
    """A token signed with a private key."""
    algorithm = str(key.as_dict()["alg"])
    return jwt.encode({"alg": algorithm, "kid": str(key.kid)}, dict(claims), key, algorithms=[algorithm])
