"""Resource records as numpy columns: what travels from the wire to the store without a Python object a record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

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


def records_from(columns: RecordColumns, sources: Iterable[str]) -> list[ResourceRecord]:
    """Unpack into domain records, with the source of each row."""
    return [
        ResourceRecord(
            person=bytes(person),
            certified=bool(certified),
            source_id=source,
            record_id=bytes(record_id),
            version=version,
            flux=FluxSource(flux),
            declarant=bytes(declarant).rstrip(b"\0").decode("ascii", "replace"),
            numero_contrat=bytes(contrat).rstrip(b"\0").decode("latin-1"),
            nature=NatureRessource(nature),
            date_versement=date_of(days),
            mois_rattachement=Month.from_index(mois),
            mode=Mode(mode),
            montant_net_social_cents=montant,
            document=DocumentRef(bytes(document_id), document_version) if document_version else None,
        )
        for (
            person,
            record_id,
            version,
            mois,
            days,
            montant,
            declarant,
            contrat,
            document_id,
            document_version,
            nature,
            flux,
            mode,
            certified,
        ), source in zip(columns.tolist(), sources, strict=True)
    ]


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
