"""The secret keys of pseudonyms: kept in a file outside the store, versioned, renewed without any NIR.

A person is a digest of the NIR under the *base* key. What stands on disk is that digest *wrapped*: passed through a
permutation of 16 bytes keyed by the version in force. Who takes the store and one of the two keys finds nobody;
wrapping again under a new version needs the old wrapped form only, never the NIR.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

MIN_KEY_BYTES = 32
_WRAPPING_BYTES = 32


class KeyFileError(ValueError):
    """A key file that cannot be used, said in French."""


@dataclass(frozen=True)
class Keyring:
    """The base key, and the wrapping key of each version; version 0 wraps nothing."""

    base: bytes = field(repr=False)
    wrapping: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    path: Path | None = field(default=None, compare=False)
    """The file it was read from: read again when a store is found under a version that was made since."""

    @property
    def newest(self) -> int:
        """The version that a new store uses."""
        return max(self.wrapping, default=0)

    @property
    def audit_key(self) -> bytes:
        """What seals the end of the audit trail."""
        return hmac.digest(self.base, b"audit", "sha256")

    def wrapped(self, persons: bytes, version: int) -> bytes:
        """Persons (16 bytes each, one after the other) as they stand on disk; KeyError for an unknown version."""
        return self._permuted(persons, version, inverse=False)

    def unwrapped(self, persons: bytes, version: int) -> bytes:
        """The inverse of `wrapped`."""
        return self._permuted(persons, version, inverse=True)

    def fingerprint(self, version: int) -> bytes:
        """Tells whether a store was made with these keys, and tells nothing else."""
        return hmac.digest(self.base, b"fingerprint" + self.wrapping.get(version, b""), "sha256")[:16]

    def _permuted(self, persons: bytes, version: int, *, inverse: bool) -> bytes:
        if version == 0:
            return persons
        return _permutation(self.wrapping[version], inverse).update(persons)

    def knowing(self, version: int) -> Keyring:
        """These keys, or those of the file when that version is not among these; KeyFileError without it in either."""
        if version == 0 or version in self.wrapping:
            return self
        newer = self if self.path is None else load(self.path)
        if version not in newer.wrapping or newer.base != self.base:
            raise KeyFileError(
                f"Ce fichier de clés n'a pas la version {version} : ce n'est pas celui de ce magasin, ou il date "
                "d'avant un renouvellement."
            )
        return newer

    def renewed(self) -> Keyring:
        """The same keys and a new version."""
        return replace(self, wrapping={**self.wrapping, self.newest + 1: secrets.token_bytes(_WRAPPING_BYTES)})

    def without_older_than(self, version: int) -> Keyring:
        """The keys without the versions that no store uses any more."""
        return replace(self, wrapping={number: key for number, key in self.wrapping.items() if number >= version})


_held = threading.local()


def _permutation(key: bytes, inverse: bool) -> CipherContext:
    """One for each thread: to make another for each read took a fifth of its time."""
    held: dict[tuple[bytes, bool], CipherContext] | None = getattr(_held, "by_key", None)
    if held is None:
        held = _held.by_key = {}
    if (key, inverse) not in held:
        # ECB of single blocks is the bare permutation: equal persons stay equal, which is what a pseudonym is for.
        cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305
        held[key, inverse] = cipher.decryptor() if inverse else cipher.encryptor()
    return held[key, inverse]


def load_or_create(path: Path) -> Keyring:
    """Read the key file, or make it once, readable by its owner only."""
    try:
        return load(path)
    except FileNotFoundError:
        keys = Keyring(secrets.token_bytes(MIN_KEY_BYTES)).renewed()
        try:
            _write_new(path, _content(keys))
        except FileExistsError:
            return load(path)  # another process was quicker
        except OSError:
            raise KeyFileError(
                f"La clé des pseudonymes {path.name} ne peut pas être écrite : vérifiez que son répertoire existe, ses "
                "droits et la place."
            ) from None
        return replace(keys, path=path)


def load(path: Path) -> Keyring:
    """Read a key file: 32 bytes or more, or what `save` writes. FileNotFoundError; KeyFileError for anything else."""
    data = path.read_bytes()
    if data.startswith(b"{"):
        try:
            read = json.loads(data)
            wrapping = {int(number): bytes.fromhex(key) for number, key in read["wrapping"].items()}
            base = bytes.fromhex(read["base"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise KeyFileError(f"{path.name} n'est pas un fichier de clés lisible : restaurez-le.") from None
        if any(number < 1 or len(key) != _WRAPPING_BYTES for number, key in wrapping.items()):
            raise KeyFileError(f"{path.name} n'est pas un fichier de clés lisible : restaurez-le.")
    else:
        base, wrapping = data, {}
    if len(base) < MIN_KEY_BYTES:
        raise KeyFileError(f"La clé des pseudonymes compte au moins {MIN_KEY_BYTES} octets.")
    return Keyring(base, wrapping, path)


def save(path: Path, keys: Keyring) -> None:
    """Replace the key file, whole and durably: a process that reads it finds the old keys or the new ones."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    _write_new(draft, _content(keys))
    os.replace(draft, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _content(keys: Keyring) -> bytes:
    wrapping = {str(number): key.hex() for number, key in sorted(keys.wrapping.items())}
    return json.dumps({"base": keys.base.hex(), "wrapping": wrapping}, indent=2).encode() + b"\n"


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
