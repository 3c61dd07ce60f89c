"""The NIR (numéro d'inscription au répertoire): its form and its key."""

from __future__ import annotations

import re

_IN_TEXT = re.compile(r"(?<![0-9A-Z])([12]\d{2}(?:0[1-9]|1[0-2]|[2-9]\d)(?:\d{2}|2[AB])\d{6}(?:\d{2})?)(?![0-9A-Z])")
# As it is printed on a card: its six groups apart, and the key after them or not.
_IN_GROUPS = re.compile(
    r"(?<![0-9A-Z])[12]([\s.-])\d{2}\1(?:0[1-9]|1[0-2]|[2-9]\d)\1(?:\d{2}|2[AB])\1\d{3}\1\d{3}(?![0-9A-Z])"
)
_NIR = re.compile(r"[1-478]\d{4}(?:\d{2}|2[AB])\d{6}")


def is_valid_nir(nir: str, key: str | None = None) -> bool:
    """Tell whether 13 characters have the form of a NIR, and carry the given two-digit key when there is one.

    Corsican départements are written 2A and 2B. The key is 97 − (number mod 97), with 2A read as 19 and 2B as 18.
    """
    if not _NIR.fullmatch(nir):
        return False
    return key is None or key == nir_key(nir)


def holds_nir(text: str) -> bool:
    """Tell whether a free text holds what looks like a permanent NIR, with or without its key, in one piece or not.

    >>> holds_nir("dossier de 2550814168025"), holds_nir("255081416802538"), holds_nir("SIRET 81234567800013")
    (True, True, False)
    >>> holds_nir("carte 2 55 08 14 168 025 38"), holds_nir("2.55.08.2A.168.025"), holds_nir("2 550 814 168 025 €")
    (True, True, False)
    """
    if _IN_GROUPS.search(text.upper()):
        return True
    return any(len(found) == 13 or found[13:] == nir_key(found[:13]) for found in _IN_TEXT.findall(text.upper()))


def is_permanent(nir: str) -> bool:
    """Tell whether a well-formed NIR is permanent: it begins with 1 or 2. Others (3, 4, 7, 8) are provisional, and
    nothing is prefilled from them (REGULATION §1.3).
    """
    return nir[0] in "12"


def nir_key(nir: str) -> str:
    """The two-digit key of a well-formed NIR.

    >>> nir_key("2550814168025")
    '38'
    """
    number = int(nir.replace("2A", "19", 1).replace("2B", "18", 1)) if nir[6] in "AB" else int(nir)
    return f"{97 - number % 97:02d}"
