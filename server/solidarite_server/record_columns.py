"""Resource records as numpy columns: what travels from the wire to the store without a Python object a record."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.errors import Reason
from solidarite_server.domain.money import MAX_CENTS
from solidarite_server.domain.month import FIRST_YEAR, LAST_YEAR, Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.domain.record import DocumentRef, FluxSource, Mode, ResourceRecord

PERSON_BYTES = 16
RECORD_ID_BYTES = 16
DOCUMENT_ID_BYTES = 16
DECLARANT_BYTES = 14
CONTRAT_BYTES = 20

RECORD_DTYPE = np.dtype(
    [
        ("person", "V16"),
        ("record_id", "V16"),
        ("version", "<u4"),
        ("mois", "<i4"),  # Month.index
        ("date_versement", "<i4"),  # days since 1970-01-01
        ("montant", "<i8"),  # montant net social, cents
        ("declarant", "V14"),  # ASCII, padded with zero bytes
        ("contrat", "V20"),  # Latin-1, padded with zero bytes
        ("document_id", "V16"),  # all zero: no document
        ("document_version", "<u4"),
        ("nature", "u1"),
        ("flux", "u1"),
        ("mode", "u1"),
        ("certified", "u1"),
    ]
)
"""One record of a batch: 108 bytes. The source is that of the batch."""

RecordColumns = npt.NDArray[np.void]
"""A 1-D array of RECORD_DTYPE."""

_EPOCH = date(1970, 1, 1)
_NO_DOCUMENT = bytes(DOCUMENT_ID_BYTES)
PREFILLED_NATURES = np.zeros(256, dtype=bool)
PREFILLED_NATURES[[nature.value for nature in NatureRessource if nature.prefilled]] = True
_FIRST_MONTH, _LAST_MONTH = FIRST_YEAR * 12, LAST_YEAR * 12 + 11
_FIRST_DAY = (date(FIRST_YEAR, 1, 1) - _EPOCH).days
_LAST_DAY = (date(LAST_YEAR, 12, 31) - _EPOCH).days


def days_of(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - _EPOCH).days


@cache
def date_of(days: int) -> date:
    """The inverse of `days_of`."""
    return _EPOCH + timedelta(days=days)


def columns_of(records: Sequence[ResourceRecord]) -> RecordColumns:
    """Pack domain records; the source is left to the batch."""
    rows = [
        (
            r.person,
            r.record_id,
            r.version,
            r.mois_rattachement.index,
            days_of(r.date_versement),
            r.montant_net_social_cents,
            r.declarant.encode("ascii"),
            r.numero_contrat.encode("latin-1"),
            r.document.document_id if r.document else _NO_DOCUMENT,
            r.document.version if r.document else 0,
            r.nature,
            r.flux,
            r.mode,
            r.certified,
        )
        for r in records
    ]
    return np.array(rows, dtype=RECORD_DTYPE)


CONTENT_FIELDS = tuple(name for name in RECORD_DTYPE.names or () if name not in ("person", "record_id", "version"))
CONTENT_DTYPE = np.dtype([(name, RECORD_DTYPE[name]) for name in CONTENT_FIELDS])
"""What a store keeps of a version beside its key, as bytes."""
_CONTENT = struct.Struct("<iiq14s20s16sIBBBB")
_MOIS = struct.Struct("<i")
_FLUX = {flux.value: flux for flux in FluxSource}
_NATURES = {nature.value: nature for nature in NatureRessource}
_MODES = {mode.value: mode for mode in Mode}


def contents_of(columns: RecordColumns) -> npt.NDArray[np.void]:
    """The contents of each row, as an array of CONTENT_DTYPE."""
    content = np.empty(len(columns), CONTENT_DTYPE)
    for name in CONTENT_FIELDS:
        content[name] = columns[name]
    return content


def mois_index_of(content: bytes) -> int:
    """The month a content counts for, as `Month.index`: its first field, without reading the others."""
    index: int = _MOIS.unpack_from(content)[0]
    return index


def record_from(person: bytes, source_id: str, record_id: bytes, version: int, content: bytes) -> ResourceRecord:
    """A domain record from its key and its content as a store keeps them."""
    mois, days, montant, declarant, contrat, document_id, document_version, nature, flux, mode, certified = (
        _CONTENT.unpack(content)
    )
    return ResourceRecord(
        person,
        bool(certified),
        source_id,
        record_id,
        version,
        _FLUX[flux],
        declarant.rstrip(b"\0").decode("ascii", "replace"),
        contrat.rstrip(b"\0").decode("latin-1"),
        _NATURES[nature],
        date_of(days),
        Month.from_index(mois),
        _MODES[mode],
        montant,
        DocumentRef(document_id, document_version) if document_version else None,
    )


def refusals_of(columns: RecordColumns) -> list[tuple[int, str, Reason, str]]:
    """Rows that break a rule: (index, field, reason, what is accepted). At most one refusal a row, in row order."""
    checks = (
        ("version", columns["version"] >= 1, "Une version vaut 1 ou plus."),
        ("nature", PREFILLED_NATURES[columns["nature"]], "Cette nature n'entre pas par ce flux."),
        ("flux_source", (columns["flux"] >= 1) & (columns["flux"] <= 3), "Un flux du contrat est attendu."),
        ("mode", (columns["mode"] >= 1) & (columns["mode"] <= 3), "Un mode du contrat est attendu."),
        (
            "mois_rattachement",
            (columns["mois"] >= _FIRST_MONTH) & (columns["mois"] <= _LAST_MONTH),
            f"Un mois de {FIRST_YEAR}-01 à {LAST_YEAR}-12 est attendu.",
        ),
        (
            "date_versement",
            (columns["date_versement"] >= _FIRST_DAY) & (columns["date_versement"] <= _LAST_DAY),
            "Une date du calendrier est attendue.",
        ),
        (
            "montant_net_social_cents",
            (columns["montant"] <= MAX_CENTS) & (columns["montant"] >= -MAX_CENTS),
            "Le montant dépasse ce que le service accepte.",
        ),
        ("declarant", columns["declarant"] != np.void(bytes(DECLARANT_BYTES)), "Un déclarant est attendu."),
    )
    refusals: dict[int, tuple[int, str, Reason, str]] = {}
    for field, accepted, message in checks:
        for index in np.flatnonzero(~np.asarray(accepted)).tolist():
            refusals.setdefault(index, (index, field, Reason.INVALID_FIELD, message))
    return [refusals[index] for index in sorted(refusals)]
