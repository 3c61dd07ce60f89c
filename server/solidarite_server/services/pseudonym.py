"""Persons are pseudonyms: a keyed digest of the NIR, whose key stays outside the store."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from solidarite_server.services.keyring import MIN_KEY_BYTES

_BYTES = 16
_BLOCK_BYTES = 64
"""Of SHA-256."""
_NIR, _NTT, _TRACE = b"nir:", b"ntt:", b"trace:"


class HmacPseudonymizer:
    """HMAC-SHA-256 cut to 16 bytes; a NIR and a temporary number never share a pseudonym."""

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"La clé des pseudonymes compte au moins {MIN_KEY_BYTES} octets.")
        if len(key) > _BLOCK_BYTES:
            key = hashlib.sha256(key).digest()
        key = key.ljust(_BLOCK_BYTES, b"\0")
        # RFC 2104, its two digests begun once with the key: a copy of each costs half of what a new one does.
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))

    def nir(self, nir: str) -> bytes:
        """The pseudonym of a well-formed NIR."""
        return self._digest(_NIR + nir.encode("ascii"))

    def ntt(self, ntt: str) -> bytes:
        """The pseudonym of a temporary number."""
        return self._digest(_NTT + ntt.encode())

    def many(self, identifiers: npt.NDArray[np.bytes_], certified: npt.NDArray[np.bool_]) -> npt.NDArray[np.void]:
        """Pseudonyms of fixed-width identifiers."""
        begun = {}
        for certain, kind in ((True, _NIR), (False, _NTT)):
            begun[certain] = self._inner.copy()
            begun[certain].update(kind)
        outer, digests = self._outer, []
        for identifier, certain in zip(identifiers.tolist(), certified.tolist(), strict=True):
            inner = begun[certain].copy()
            inner.update(identifier)
            digest = outer.copy()
            digest.update(inner.digest())
            digests.append(digest.digest())
        return np.frombuffer(b"".join(digests), f"V{_BYTES}")[::2]

    def trace(self, person: bytes) -> str:
        """How the audit trail names a person: another digest, so that the trail does not lead to the records."""
        return self._digest(_TRACE + person).hex()

    def _digest(self, data: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(data)
        outer.update(inner.digest())
        return outer.digest()[:_BYTES]
