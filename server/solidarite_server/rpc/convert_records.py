"""Batches of records, rows or columns, to RECORD_DTYPE; held records back to messages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
from solidarite.v1 import resource_record_pb2 as pb

from solidarite_server.domain.errors import InvalidRequest, Reason
from solidarite_server.domain.month import FIRST_YEAR, LAST_YEAR
from solidarite_server.domain.nir import is_permanent, is_valid_nir
from solidarite_server.domain.record import StoredRecord
from solidarite_server.ports import Batch, Seal
from solidarite_server.record_columns import (
    CONTRAT_BYTES,
    DECLARANT_BYTES,
    DOCUMENT_ID_BYTES,
    RECORD_DTYPE,
    RECORD_ID_BYTES,
    RecordColumns,
    days_of,
)
from solidarite_server.rpc import convert
from solidarite_server.services.pseudonym import HmacPseudonymizer

NIR_WIDTH = 13
MAX_IDENTIFIER = 40
_MIN_NTT = 11
_EPOCH_MONTH = 1970 * 12


def batch(message: pb.StreamResourceRecordsRequest, pseudonyms: HmacPseudonymizer, limit: int) -> Batch:
    """Read a batch; InvalidRequest refuses it whole, with the path of what is malformed."""
    convert.text(message.source_id, "source_id", maximum=64)
    convert.text(message.upload_id, "upload_id", maximum=64, minimum=0)
    if message.batch_sequence < 1 or message.batch_sequence >= 1 << 62:
        raise InvalidRequest("Les lots se comptent à partir de 1.", field="batch_sequence")
    form = message.WhichOneof("content")
    count = message.columns.count if form == "columns" else len(message.records.records)
    if count > limit or len(message.seals) > limit:
        raise InvalidRequest(
            f"Un lot compte au plus {limit} enregistrements.", field=form or "seals", reason=Reason.BATCH_TOO_LARGE
        )
    records = _columns(message.columns, pseudonyms) if form == "columns" else _rows(message.records, pseudonyms)
    seals = tuple(_seal(seal, f"seals[{place}]") for place, seal in enumerate(message.seals))
    return Batch(message.source_id, message.upload_id, message.batch_sequence, records, seals)


def held_record(stored: StoredRecord) -> pb.HeldRecord:
    """A record as it may be shown: the person is not named."""
    record = stored.record
    message = pb.HeldRecord(
        source_id=record.source_id,
        record_id=record.record_id,
        version=record.version,
        certified=record.certified,
        flux_source=convert.number(record.flux),
        declarant=record.declarant,
        numero_contrat=record.numero_contrat,
        nature=convert.number(record.nature),
        date_versement=convert.day_to_proto(record.date_versement),
        mois_rattachement=convert.month_to_proto(record.mois_rattachement),
        montant_net_social_cents=record.montant_net_social_cents,
        mode=convert.number(record.mode),
        known_at=convert.instant_to_proto(stored.known_at_us),
        effective=stored.effective,
    )
    if record.document is not None:
        message.document.document_id = record.document.document_id
        message.document.version = record.document.version
    return message


def _seal(message: pb.DocumentSeal, field: str) -> Seal:
    _document(message.document, f"{field}.document")
    return Seal(message.document.document_id, message.document.version, message.record_count)


def _document(message: pb.DocumentRef, field: str) -> None:
    if len(message.document_id) != DOCUMENT_ID_BYTES or not any(message.document_id):
        raise InvalidRequest(
            f"Un identifiant de document compte {DOCUMENT_ID_BYTES} octets.", field=f"{field}.document_id"
        )
    if message.version < 1:
        raise InvalidRequest("Une version vaut 1 ou plus.", field=f"{field}.version")


def _rows(message: pb.ResourceRecordList, pseudonyms: HmacPseudonymizer) -> RecordColumns:
    try:
        return _rows_by_column(message.records, pseudonyms)
    except _Unusual:
        # Row by row, which costs six times as much, and says what is wrong with which.
        rows = [_row(record, f"records.records[{place}]", pseudonyms) for place, record in enumerate(message.records)]
        return np.array(rows, dtype=RECORD_DTYPE)


class _Unusual(Exception):
    """A row has something that whole columns do not tell: it is malformed, or its person has no NIR."""


def _rows_by_column(records: Sequence[pb.ResourceRecord], pseudonyms: HmacPseudonymizer) -> RecordColumns:
    """The rows as `_row` reads them, a field at a time; _Unusual when one of them is not plain."""
    n = len(records)
    out = np.zeros(n, RECORD_DTYPE)
    out["record_id"] = _joined([record.record_id for record in records], RECORD_ID_BYTES)
    out["version"] = [record.version for record in records]
    try:
        nirs = _joined([record.nir.encode("ascii") for record in records], NIR_WIDTH)
        out["declarant"] = _padded([record.declarant.encode("latin-1") for record in records], DECLARANT_BYTES)
        out["contrat"] = _padded([record.numero_contrat.encode("latin-1") for record in records], CONTRAT_BYTES)
    except UnicodeEncodeError:
        raise _Unusual from None
    letters = nirs.view(np.uint8).reshape(n, NIR_WIDTH)
    if not _are_nirs(letters).all():
        raise _Unusual
    out["person"] = pseudonyms.many(nirs.view(f"S{NIR_WIDTH}"), np.ones(n, dtype=bool))
    out["certified"] = _are_permanent(letters)
    for name, values in (
        ("nature", [record.nature for record in records]),
        ("flux", [record.flux_source for record in records]),
        ("mode", [record.mode or pb.RECORD_MODE_INITIAL for record in records]),
    ):
        if min(values, default=0) < 0 or max(values, default=0) > 255:
            raise _Unusual
        out[name] = values
    out["montant"] = [record.montant_net_social_cents for record in records]
    days = [record.date_versement for record in records]
    months = _months([day.year for day in days], [day.month for day in days])
    out["date_versement"] = _days(months, np.array([day.day for day in days], np.int64))
    own = [place for place, record in enumerate(records) if record.HasField("mois_rattachement")]
    if own:
        told = [records[place].mois_rattachement for place in own]
        months[own] = _months([month.year for month in told], [month.month for month in told])
    out["mois"] = months
    for place in [place for place, record in enumerate(records) if record.HasField("document")]:
        document = records[place].document
        if len(document.document_id) != DOCUMENT_ID_BYTES or not any(document.document_id) or document.version < 1:
            raise _Unusual
        out["document_id"][place] = np.void(document.document_id)
        out["document_version"][place] = document.version
    return out


def _joined(values: list[bytes], width: int) -> npt.NDArray[np.void]:
    if any(len(value) != width for value in values):
        raise _Unusual
    return np.frombuffer(b"".join(values), f"V{width}") if values else np.empty(0, f"V{width}")


def _padded(values: list[bytes], width: int) -> npt.NDArray[np.void]:
    if any(len(value) > width for value in values) or b"\0" in b"".join(values):
        raise _Unusual
    return np.array(values, f"S{width}").view(f"V{width}")


def _months(years: list[int], months: list[int]) -> npt.NDArray[np.int64]:
    """`Month.index` of each."""
    year, month = np.array(years, np.int64), np.array(months, np.int64)
    if not ((year >= FIRST_YEAR) & (year <= LAST_YEAR) & (month >= 1) & (month <= 12)).all():
        raise _Unusual
    indexes: npt.NDArray[np.int64] = year * 12 + month - 1
    return indexes


def _days(months: npt.NDArray[np.int64], days: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Days since 1970-01-01 of these days of these months."""
    firsts = (months - _EPOCH_MONTH).astype("datetime64[M]")
    dates = firsts.astype("datetime64[D]") + (days - 1).astype("timedelta64[D]")
    if not ((days >= 1) & (days <= 31) & (dates.astype("datetime64[M]") == firsts)).all():
        raise _Unusual
    numbers: npt.NDArray[np.int64] = dates.astype(np.int64)
    return numbers


def _row(record: pb.ResourceRecord, field: str, pseudonyms: HmacPseudonymizer) -> tuple[object, ...]:
    if len(record.record_id) != RECORD_ID_BYTES:
        raise InvalidRequest(f"Un identifiant compte {RECORD_ID_BYTES} octets.", field=f"{field}.record_id")
    paid: date = convert.day(record.date_versement, f"{field}.date_versement")
    if record.HasField("mois_rattachement"):
        mois = convert.month(record.mois_rattachement, f"{field}.mois_rattachement").index
    else:
        mois = paid.year * 12 + paid.month - 1
    document = (bytes(DOCUMENT_ID_BYTES), 0)
    if record.HasField("document"):
        _document(record.document, f"{field}.document")
        document = (record.document.document_id, record.document.version)
    return (
        _person(record, field, pseudonyms),
        record.record_id,
        record.version,
        mois,
        days_of(paid),
        record.montant_net_social_cents,
        _fixed(record.declarant, DECLARANT_BYTES, f"{field}.declarant"),
        _fixed(record.numero_contrat, CONTRAT_BYTES, f"{field}.numero_contrat"),
        *document,
        _byte(record.nature, f"{field}.nature"),
        _byte(record.flux_source, f"{field}.flux_source"),
        _byte(record.mode, f"{field}.mode") or pb.RECORD_MODE_INITIAL,
        record.WhichOneof("identity") == "nir" and is_permanent(record.nir),
    )


def _person(record: pb.ResourceRecord, field: str, pseudonyms: HmacPseudonymizer) -> bytes:
    if record.WhichOneof("identity") == "ntt":
        if not _MIN_NTT <= len(record.ntt) <= MAX_IDENTIFIER or not record.ntt.isascii():
            raise InvalidRequest("Un NTT compte de 11 à 40 caractères.", field=f"{field}.ntt")
        return pseudonyms.ntt(record.ntt)
    if not is_valid_nir(record.nir):
        raise InvalidRequest("Un NIR compte 13 caractères (Corse : 2A ou 2B).", field=f"{field}.nir")
    return pseudonyms.nir(record.nir)


def _byte(value: int, field: str) -> int:
    if not 0 <= value <= 255:
        raise InvalidRequest("Cette valeur n'est pas dans la liste du contrat.", field=field)
    return value


def _fixed(value: str, width: int, field: str) -> bytes:
    try:
        data = value.encode("latin-1")
    except UnicodeEncodeError:
        data = None
    if data is None or len(data) > width or b"\0" in data:
        raise InvalidRequest(f"Au plus {width} caractères latins sont acceptés.", field=field)
    return data


def _columns(message: pb.ResourceRecordColumns, pseudonyms: HmacPseudonymizer) -> RecordColumns:
    n = message.count
    out = np.zeros(n, RECORD_DTYPE)
    out["record_id"] = _bytes_column(message.record_ids, n, RECORD_ID_BYTES, "record_ids")
    out["version"] = _numbers(message.versions, n, "versions", np.uint32, default=1)
    certified = np.ones(n, dtype=bool)
    if message.certified:
        certified = _bytes_column(message.certified, n, 1, "certified").view(np.uint8) == 1
    out["person"] = _persons(message, n, certified, pseudonyms)
    width = message.person_identifier_width or NIR_WIDTH
    out["certified"] = certified & _are_permanent(np.frombuffer(message.person_identifiers, np.uint8).reshape(n, width))
    out["flux"] = _byte(message.flux_source, "columns.flux_source")
    out["declarant"] = _bytes_column(message.declarants, n, DECLARANT_BYTES, "declarants")
    if message.numeros_contrat:
        out["contrat"] = _bytes_column(message.numeros_contrat, n, CONTRAT_BYTES, "numeros_contrat")
    out["nature"] = _bytes_column(message.natures, n, 1, "natures").view(np.uint8)
    days = _numbers(message.dates_versement, n, "dates_versement", np.int32)
    out["date_versement"] = days
    if message.mois_rattachement:
        out["mois"] = _numbers(message.mois_rattachement, n, "mois_rattachement", np.int32)
    else:
        out["mois"] = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) + _EPOCH_MONTH
    out["montant"] = _numbers(message.montants_net_social_cents, n, "montants_net_social_cents", np.int64)
    out["mode"] = pb.RECORD_MODE_INITIAL
    if message.modes:
        modes = _bytes_column(message.modes, n, 1, "modes").view(np.uint8)
        out["mode"] = np.where(modes == 0, pb.RECORD_MODE_INITIAL, modes)
    _documents(message, n, out)
    return out


def _persons(
    message: pb.ResourceRecordColumns, n: int, certified: npt.NDArray[np.bool_], pseudonyms: HmacPseudonymizer
) -> npt.NDArray[np.void]:
    width = message.person_identifier_width or NIR_WIDTH
    if not NIR_WIDTH <= width <= MAX_IDENTIFIER:
        raise InvalidRequest(
            f"De {NIR_WIDTH} à {MAX_IDENTIFIER} octets sont acceptés.", field="columns.person_identifier_width"
        )
    raw = _bytes_column(message.person_identifiers, n, width, "person_identifiers")
    identifiers = raw.view(f"S{width}")
    bad = certified & ~_are_nirs(raw.view(np.uint8).reshape(n, width))
    bad |= ~certified & (np.char.str_len(identifiers) < _MIN_NTT)
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        raise InvalidRequest(
            "Un NIR compte 13 caractères (Corse : 2A ou 2B), un NTT de 11 à 40.",
            field=f"columns.person_identifiers[{place}]",
        )
    return pseudonyms.many(identifiers, certified)


def _are_nirs(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """The form of `domain.nir.is_valid_nir`, on rows of bytes."""
    digit = (raw >= ord("0")) & (raw <= ord("9"))
    corsica = (raw[:, 5] == ord("2")) & ((raw[:, 6] == ord("A")) | (raw[:, 6] == ord("B")))
    digits = digit[:, :NIR_WIDTH].copy()
    digits[:, 6] |= corsica
    first = np.isin(raw[:, 0], np.frombuffer(b"123478", np.uint8))
    nirs: npt.NDArray[np.bool_] = first & digits.all(axis=1) & (raw[:, NIR_WIDTH:] == 0).all(axis=1)
    return nirs


def _are_permanent(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """`domain.nir.is_permanent`, on rows of bytes."""
    permanent: npt.NDArray[np.bool_] = (raw[:, 0] == ord("1")) | (raw[:, 0] == ord("2"))
    return permanent


def _documents(message: pb.ResourceRecordColumns, n: int, out: RecordColumns) -> None:
    if not message.document_indexes:
        return
    indexes = _numbers(message.document_indexes, n, "document_indexes", np.uint32)
    if int(indexes.max(initial=0)) > len(message.documents):
        raise InvalidRequest("Un indice désigne un document de la liste.", field="columns.document_indexes")
    table = np.zeros(len(message.documents) + 1, dtype=[("id", "V16"), ("version", "<u4")])
    for place, document in enumerate(message.documents):
        _document(document, f"columns.documents[{place}]")
        table[place + 1] = (document.document_id, document.version)
    out["document_id"] = table["id"][indexes]
    out["document_version"] = table["version"][indexes]


def _bytes_column(data: bytes, n: int, width: int, name: str) -> npt.NDArray[np.void]:
    if len(data) != n * width:
        raise InvalidRequest(f"La colonne compte {width} octets par enregistrement.", field=f"columns.{name}")
    return np.frombuffer(data, dtype=f"V{width}") if n else np.empty(0, f"V{width}")


def _numbers(values: object, n: int, name: str, kind: type, default: int | None = None) -> npt.NDArray[np.int64]:
    column: npt.NDArray[np.int64] = np.array(values, dtype=kind)
    if len(column) == 0 and default is not None:
        return np.full(n, default, dtype=kind)
    if len(column) != n:
        raise InvalidRequest("La colonne compte un élément par enregistrement.", field=f"columns.{name}")
    return column
