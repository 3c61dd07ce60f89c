"""Records into batches, and batches into the contract's messages: rows, or packed columns without numpy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from solidarite.v1 import common_pb2, resource_record_pb2
from solidarite.v1.resource_record_pb2 import ResourceRecordColumns, ResourceRecordList, StreamResourceRecordsRequest

from solidarite_client._settings import Form
from solidarite_client.models import DocumentRef, DocumentSeal, FluxSource, Mode, ResourceRecord, days_since_epoch

_NIR_WIDTH, _DECLARANT_WIDTH, _CONTRACT_WIDTH = 13, 14, 20

Item = ResourceRecord | DocumentSeal | ResourceRecordColumns
"""What an upload takes: records, seals, or batches of records already packed in columns (at most 2,000 each)."""


class Batcher:
    """Groups items into batches of at most `limit` records, in order.

    A seal travels with the records before it or in the next batch: never earlier than they do. Source, upload and
    sequence are left for the journal to fill in.
    """

    def __init__(self, *, limit: int, form: Form) -> None:
        self._limit = limit
        self._form = form
        self._records: list[ResourceRecord] = []
        self._seals: list[DocumentSeal] = []

    def add(self, item: Item) -> list[StreamResourceRecordsRequest]:
        """Take one item; return the batches that it completes."""
        done: list[StreamResourceRecordsRequest] = []
        if isinstance(item, DocumentSeal):
            self._seals.append(item)
        elif isinstance(item, ResourceRecord):
            # A batch in columns has one flow for all its rows.
            if self._records and item.flux_source != self._records[0].flux_source:
                done += self.flush()
            self._records.append(item)
        else:
            done += self.flush()
            done.append(StreamResourceRecordsRequest(columns=item))
        if len(self._records) >= self._limit or len(self._seals) >= self._limit:
            done += self.flush()
        return done

    def flush(self) -> list[StreamResourceRecordsRequest]:
        """Return the batch in the making, if it holds anything."""
        if not self._records and not self._seals:
            return []
        request = StreamResourceRecordsRequest(seals=[_seal(seal) for seal in self._seals])
        if self._records and self._form == "columns":
            request.columns.CopyFrom(columns(self._records))
        elif self._records:
            request.records.CopyFrom(rows(self._records))
        self._records, self._seals = [], []
        return [request]


def batches(items: Iterable[Item], *, limit: int, form: Form) -> Iterator[StreamResourceRecordsRequest]:
    """The batches of a whole series of items."""
    batcher = Batcher(limit=limit, form=form)
    for item in items:
        yield from batcher.add(item)
    yield from batcher.flush()


def records_in(request: StreamResourceRecordsRequest) -> int:
    """How many records a batch holds."""
    return request.columns.count if request.HasField("columns") else len(request.records.records)


def columns(records: Sequence[ResourceRecord]) -> ResourceRecordColumns:
    """Pack records (one at least) of one flow; optional columns stay empty where every row has the default."""
    identifiers = [record.nir or record.ntt or "" for record in records]
    width = max(_NIR_WIDTH, *map(len, identifiers))
    certified = bytes([record.nir is not None for record in records])
    versions = [record.version for record in records]
    contracts = [record.numero_contrat for record in records]
    modes = bytes([record.mode for record in records])
    months = [record.mois_rattachement.index for record in records]
    paid_months = [record.date_versement.year * 12 + record.date_versement.month - 1 for record in records]
    documents, indexes = _documents(records)
    return ResourceRecordColumns(
        count=len(records),
        record_ids=b"".join([record.record_id for record in records]),
        versions=[] if set(versions) == {1} else versions,
        person_identifiers=_fixed(identifiers, width),
        person_identifier_width=width,
        certified=b"" if all(certified) else certified,
        flux_source=_flux(records[0].flux_source),
        declarants=_fixed([record.declarant for record in records], _DECLARANT_WIDTH),
        numeros_contrat=_fixed(contracts, _CONTRACT_WIDTH) if any(contracts) else b"",
        natures=bytes([record.nature for record in records]),
        dates_versement=[days_since_epoch(record.date_versement) for record in records],
        mois_rattachement=[] if months == paid_months else months,
        montants_net_social_cents=[record.montant_net_social_cents for record in records],
        modes=b"" if set(modes) == {Mode.INITIAL} else modes,
        document_indexes=indexes if documents else [],
        documents=documents,
    )


def _fixed(values: Sequence[str], width: int) -> bytes:
    return "".join([value.ljust(width, "\0") for value in values]).encode("ascii")


def _documents(records: Sequence[ResourceRecord]) -> tuple[list[resource_record_pb2.DocumentRef], list[int]]:
    places: dict[tuple[bytes, int], int] = {}
    indexes: list[int] = []
    for record in records:
        document = record.document
        if document is None:
            indexes.append(0)
        else:
            indexes.append(places.setdefault((document.document_id, document.version), len(places) + 1))
    return [resource_record_pb2.DocumentRef(document_id=key, version=version) for key, version in places], indexes


def rows(records: Sequence[ResourceRecord]) -> ResourceRecordList:
    """One message a record."""
    return ResourceRecordList(records=[_row(record) for record in records])


def _row(record: ResourceRecord) -> resource_record_pb2.ResourceRecord:
    day, month = record.date_versement, record.mois_rattachement
    message = resource_record_pb2.ResourceRecord(
        record_id=record.record_id,
        version=record.version,
        flux_source=_flux(record.flux_source),
        declarant=record.declarant,
        numero_contrat=record.numero_contrat,
        nature=common_pb2.NatureRessource.ValueType(record.nature),
        date_versement=common_pb2.Date(year=day.year, month=day.month, day=day.day),
        mois_rattachement=common_pb2.Month(year=month.year, month=month.month),
        montant_net_social_cents=record.montant_net_social_cents,
        mode=resource_record_pb2.RecordMode.ValueType(record.mode),
        document=None if record.document is None else _document(record.document),
    )
    if record.nir is not None:
        message.nir = record.nir
    else:
        message.ntt = record.ntt or ""
    return message


def _flux(flux: FluxSource) -> resource_record_pb2.FluxSource.ValueType:
    return resource_record_pb2.FluxSource.ValueType(flux)


def _document(document: DocumentRef) -> resource_record_pb2.DocumentRef:
    return resource_record_pb2.DocumentRef(document_id=document.document_id, version=document.version)


def _seal(seal: DocumentSeal) -> resource_record_pb2.DocumentSeal:
    return resource_record_pb2.DocumentSeal(document=_document(seal.document), record_count=seal.record_count)
