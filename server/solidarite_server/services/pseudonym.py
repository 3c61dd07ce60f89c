"""Persons are pseudonyms: a keyed digest of the NIR, whose key stays outside the store."""

from __future__ import annotations

import hmac

import numpy as np
import numpy.typing as npt

from solidarite_server.services.keyring import MIN_KEY_BYTES

_BYTES = 16
_NIR, _NTT, _TRACE = b"nir:", b"ntt:", b"trace:"


class HmacPseudonymizer:
    """HMAC-SHA-256 cut to 16 bytes; a NIR and a temporary number never share a pseudonym."""

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"La clé des pseudonymes compte au moins {MIN_KEY_BYTES} octets.")
        self._key = key

    def nir(self, nir: str) -> bytes:
        """The pseudonym of a well-formed NIR."""
        return self._digest(_NIR + nir.encode("ascii"))

    def ntt(self, ntt: str) -> bytes:
        """The pseudonym of a temporary number."""
        return self._digest(_NTT + ntt.encode())

    def many(self, identifiers: npt.NDArray[np.bytes_], certified: npt.NDArray[np.bool_]) -> npt.NDArray[np.void]:
        """Pseudonyms of fixed-width identifiers, a person met several times being computed once."""
        seen: dict[tuple[bytes, bool], bytes] = {}
        digests = []
        for key in zip(identifiers.tolist(), certified.tolist(), strict=True):
            digest = seen.get(key)
            if digest is None:
                digest = seen[key] = self._digest((_NIR if key[1] else _NTT) + key[0])
            digests.append(digest)
        return np.frombuffer(b"".join(digests), "V16")

    def trace(self, person: bytes) -> str:
        """How the audit trail names a person: another digest, so that the trail does not lead to the records."""
        return self._digest(_TRACE + person).hex()

    def _digest(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, "sha256")[:_BYTES]
