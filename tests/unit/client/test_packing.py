"""Both forms of a batch say the same, and seals never travel before their records."""

from datetime import date

import pytest
from solidarite.v1.resource_record_pb2 import ResourceRecordColumns, StreamResourceRecordsRequest
from solidarite_client import DocumentRef, DocumentSeal, FluxSource, Mode, Month, NatureRessource, ResourceRecord
from solidarite_client._packing import batches, columns, records_in, rows

DOCUMENTS = [DocumentRef(document_id=bytes([n]) * 16, version=n) for n in (1, 2)]


def record(number: int = 0, **changes) -> ResourceRecord:
    content = {
        "record_id": number.to_bytes(16, "big"),
        "nir": "2840575999101",
        "flux_source": FluxSource.DSN,
        "declarant": "81234567800013",
        "nature": NatureRessource.SALAIRE,
        "date_versement": date(2026, 8, 31),
        "montant_net_social_cents": 100 + number,
    }
    return ResourceRecord(**content | changes)


PLAIN = [record(0), record(1)]
VARIED = [
    record(0, version=3, numero_contrat="CDI-00001", document=DOCUMENTS[0]),
    record(1, nir=None, ntt="1812345678TMP0001", document=DOCUMENTS[1], montant_net_social_cents=-12050),
    record(2, mode=Mode.DIFFERENTIEL, mois_rattachement=Month(2026, 7), nature=NatureRessource.APPRENTISSAGE),
    record(3, declarant="FT", numero_contrat="X" * 20, document=DOCUMENTS[0], date_versement=date(1990, 1, 1)),
    record(4, nir=None, ntt="2" + "9" * 39, mode=Mode.ANNULATION, date_versement=date(2099, 12, 31)),
]


def unpacked(packed: ResourceRecordColumns) -> list[dict]:
    """What the columns say row by row, as the contract's comments define them."""
    width = packed.person_identifier_width or 13

    def text(column: bytes, size: int, row: int) -> str:
        return column[row * size : (row + 1) * size].rstrip(b"\0").decode("ascii")

    found = []
    for row in range(packed.count):
        certified = packed.certified[row] if packed.certified else 1
        index = packed.document_indexes[row] if packed.document_indexes else 0
        day = date.fromordinal(date(1970, 1, 1).toordinal() + packed.dates_versement[row])
        found.append(
            {
                "record_id": packed.record_ids[row * 16 : row * 16 + 16],
                "version": packed.versions[row] if packed.versions else 1,
                "nir" if certified else "ntt": text(packed.person_identifiers, width, row),
                "flux_source": packed.flux_source,
                "declarant": text(packed.declarants, 14, row),
                "numero_contrat": text(packed.numeros_contrat, 20, row) if packed.numeros_contrat else "",
                "nature": packed.natures[row],
                "day": day,
                "month": Month.from_index(packed.mois_rattachement[row]) if packed.mois_rattachement else Month.of(day),
                "cents": packed.montants_net_social_cents[row],
                "mode": packed.modes[row] if packed.modes else Mode.INITIAL,
                "document": (packed.documents[index - 1].document_id, packed.documents[index - 1].version)
                if index
                else None,
            }
        )
    return found


def said_by_rows(records: list[ResourceRecord]) -> list[dict]:
    return [
        {
            "record_id": message.record_id,
            "version": message.version,
            message.WhichOneof("identity"): message.nir or message.ntt,
            "flux_source": message.flux_source,
            "declarant": message.declarant,
            "numero_contrat": message.numero_contrat,
            "nature": message.nature,
            "day": date(message.date_versement.year, message.date_versement.month, message.date_versement.day),
            "month": Month(message.mois_rattachement.year, message.mois_rattachement.month),
            "cents": message.montant_net_social_cents,
            "mode": message.mode,
            "document": (message.document.document_id, message.document.version)
            if message.HasField("document")
            else None,
        }
        for message in rows(records).records
    ]


@pytest.mark.parametrize("records", [PLAIN, VARIED, VARIED[:1], PLAIN + VARIED])
def test_columns_say_the_same_as_rows(records):
    assert unpacked(columns(records)) == said_by_rows(records)


def test_columns_of_the_usual_case_leave_out_what_has_its_default():
    packed = columns(PLAIN)
    assert (packed.person_identifier_width, len(packed.person_identifiers)) == (13, 26)
    for optional in ("versions", "certified", "numeros_contrat", "mois_rattachement", "modes", "document_indexes"):
        assert not getattr(packed, optional), optional


def test_batches_hold_at_most_their_limit_and_keep_the_order():
    found = list(batches([record(n) for n in range(25)], limit=10, form="rows"))
    assert [records_in(batch) for batch in found] == [10, 10, 5]
    amounts = [r.montant_net_social_cents for batch in found for r in batch.records.records]
    assert amounts == list(range(100, 125))


def test_a_seal_travels_with_its_last_records_or_after_them():
    seal = DocumentSeal(document=DOCUMENTS[0], record_count=10)
    found = list(batches([*[record(n) for n in range(10)], seal, record(10)], limit=10, form="columns"))
    assert [(records_in(batch), len(batch.seals)) for batch in found] == [(10, 0), (1, 1)]


def test_seals_alone_make_a_batch():
    seal = DocumentSeal(document=DOCUMENTS[0], record_count=0)
    (found,) = batches([seal], limit=10, form="columns")
    assert (records_in(found), found.seals[0].document.version) == (0, 1)
    assert not found.HasField("columns")


def test_many_seals_are_spread_over_batches():
    seal = DocumentSeal(document=DOCUMENTS[0], record_count=0)
    assert [len(batch.seals) for batch in batches([seal] * 25, limit=10, form="rows")] == [10, 10, 5]


def test_another_flow_opens_another_batch():
    items = [record(0), record(1, flux_source=FluxSource.PASRAU), record(2, flux_source=FluxSource.PASRAU)]
    found = list(batches(items, limit=10, form="columns"))
    assert [(batch.columns.flux_source, batch.columns.count) for batch in found] == [(1, 1), (2, 2)]


def test_columns_packed_by_the_caller_go_as_they_are_and_in_their_turn():
    packed = columns(PLAIN)
    found = list(batches([record(5), packed, record(6)], limit=10, form="columns"))
    assert [records_in(batch) for batch in found] == [1, 2, 1]
    assert found[1] == StreamResourceRecordsRequest(columns=packed)
