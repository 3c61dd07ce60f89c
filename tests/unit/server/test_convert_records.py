"""Rows and columns of the contract mean the same."""

import random
from collections.abc import Callable
from datetime import date

import numpy as np
import pytest
from solidarite.v1 import common_pb2, resource_record_pb2
from solidarite_server.domain.errors import InvalidRequest
from solidarite_server.record_columns import RECORD_DTYPE
from solidarite_server.rpc.convert_records import _row, _rows_by_column, batch
from solidarite_server.services.pseudonym import HmacPseudonymizer

PSEUDONYMS = HmacPseudonymizer(b"k" * 32)
CERTIFIED, CORSICAN, PROVISIONAL = "2840575999101", "181032A999104", "8840575999101"


def rows(*nirs: str) -> resource_record_pb2.StreamResourceRecordsRequest:
    request = resource_record_pb2.StreamResourceRecordsRequest(source_id="paie", batch_sequence=1)
    for place, nir in enumerate(nirs):
        request.records.records.add(
            record_id=bytes([place + 1] * 16),
            version=1,
            nir=nir,
            flux_source=resource_record_pb2.FLUX_SOURCE_DSN,
            declarant="81234567800013",
            nature=common_pb2.NATURE_RESSOURCE_SALAIRE,
            date_versement=common_pb2.Date(year=2026, month=7, day=31),
            montant_net_social_cents=131_111,
        )
    return request


def columns(*nirs: str) -> resource_record_pb2.StreamResourceRecordsRequest:
    request = resource_record_pb2.StreamResourceRecordsRequest(source_id="paie", batch_sequence=1)
    packed, n = request.columns, len(nirs)
    packed.count = n
    packed.record_ids = b"".join(bytes([place + 1] * 16) for place in range(n))
    packed.person_identifiers = "".join(nirs).encode()
    packed.flux_source = resource_record_pb2.FLUX_SOURCE_DSN
    packed.declarants = b"81234567800013" * n
    packed.natures = bytes([common_pb2.NATURE_RESSOURCE_SALAIRE] * n)
    packed.dates_versement.extend([(date(2026, 7, 31) - date(1970, 1, 1)).days] * n)
    packed.montants_net_social_cents.extend([131_111] * n)
    return request


def test_rows_and_columns_give_the_same_records():
    nirs = (CERTIFIED, CORSICAN, PROVISIONAL)
    first, second = (batch(form(*nirs), PSEUDONYMS, 2_000).records for form in (rows, columns))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("form", [rows, columns])
def test_a_provisional_nir_is_never_certified(form):
    assert batch(form(CERTIFIED, PROVISIONAL), PSEUDONYMS, 2_000).records["certified"].tolist() == [1, 0]


@pytest.mark.parametrize("form", [rows, columns])
@pytest.mark.parametrize("nir", ["5840575999101", "28405759991O1", "2840575999 01", "184053A999101"])
def test_a_malformed_nir_refuses_the_batch_with_its_place(form, nir: str):
    with pytest.raises(InvalidRequest) as refused:
        batch(form(CERTIFIED, nir), PSEUDONYMS, 2_000)
    assert "[1]" in refused.value.field
    assert nir not in str(refused.value)


@pytest.mark.parametrize("name", ["record_ids", "declarants", "natures", "person_identifiers", "dates_versement"])
def test_a_column_of_the_wrong_length_refuses_the_batch_with_its_path(name: str):
    request = columns(CERTIFIED, CORSICAN)
    column = getattr(request.columns, name)
    if isinstance(column, bytes):
        setattr(request.columns, name, column[:-1])
    else:
        del column[-1]
    with pytest.raises(InvalidRequest) as refused:
        batch(request, PSEUDONYMS, 2_000)
    assert refused.value.field == f"columns.{name}"


def any_row(chance: random.Random, records: resource_record_pb2.ResourceRecordList) -> None:
    """A plain row: every field that may be told or not, told half of the time."""
    row = records.records.add(
        record_id=chance.randbytes(16),
        version=chance.choice([0, 1, 2**32 - 1]),
        nir=chance.choice([CERTIFIED, CORSICAN, PROVISIONAL]),
        flux_source=chance.choice([0, 1, 2, 3, 200]),
        declarant=chance.choice(["", "CPAM", "81234567800013", "é"]),
        numero_contrat=chance.choice(["", "CDI-É", "x" * 20]),
        nature=chance.choice([0, 1, 2, 255]),
        date_versement=common_pb2.Date(year=chance.choice([1990, 2024, 2099]), month=2, day=chance.randint(1, 28)),
        montant_net_social_cents=chance.randint(-(2**63), 2**63 - 1),
        mode=chance.choice([0, 1, 2, 3]),
    )
    if chance.random() < 0.5:
        row.mois_rattachement.year, row.mois_rattachement.month = chance.choice([1990, 2099]), chance.randint(1, 12)
    if chance.random() < 0.5:
        row.document.document_id, row.document.version = b"\1" + chance.randbytes(15), chance.randint(1, 2**32 - 1)


def row_by_row(request: resource_record_pb2.StreamResourceRecordsRequest) -> np.ndarray:
    rows_ = [_row(r, f"records.records[{k}]", PSEUDONYMS) for k, r in enumerate(request.records.records)]
    return np.array(rows_, dtype=RECORD_DTYPE)


def test_rows_read_field_by_field_are_what_they_are_read_one_by_one():
    seed = random.randrange(10**6)
    chance, request = random.Random(seed), rows()
    for _ in range(500):
        any_row(chance, request.records)
    request.records.records[0].date_versement.MergeFrom(common_pb2.Date(year=2024, month=2, day=29))
    found = _rows_by_column(request.records.records, PSEUDONYMS)
    assert found.tobytes() == row_by_row(request).tobytes(), f"seed {seed}"


def test_an_empty_list_of_rows_is_an_empty_batch():
    assert len(batch(rows(), PSEUDONYMS, 2_000).records) == 0


@pytest.mark.parametrize(
    ("field", "spoil"),
    [
        ("record_id", lambda r: setattr(r, "record_id", b"short")),
        ("nir", lambda r: setattr(r, "nir", "é" * 13)),
        ("ntt", lambda r: setattr(r, "ntt", "short")),
        ("declarant", lambda r: setattr(r, "declarant", "x" * 15)),
        ("declarant", lambda r: setattr(r, "declarant", "a\0")),
        ("numero_contrat", lambda r: setattr(r, "numero_contrat", "œ")),
        ("nature", lambda r: setattr(r, "nature", 256)),
        ("mode", lambda r: setattr(r, "mode", -1)),
        ("date_versement", lambda r: setattr(r.date_versement, "day", 32)),
        ("date_versement", lambda r: r.date_versement.MergeFrom(common_pb2.Date(year=2025, month=2, day=29))),
        ("date_versement", lambda r: r.ClearField("date_versement")),
        ("mois_rattachement", lambda r: setattr(r.mois_rattachement, "month", 13)),
        ("document.document_id", lambda r: setattr(r.document, "version", 1)),
        ("document.version", lambda r: setattr(r.document, "document_id", b"d" * 16)),
    ],
)
def test_a_malformed_row_refuses_the_batch_with_its_path(field: str, spoil: Callable[..., None]):
    request = rows(CERTIFIED, CORSICAN)
    spoil(request.records.records[1])
    with pytest.raises(InvalidRequest) as refused:
        batch(request, PSEUDONYMS, 2_000)
    assert refused.value.field == f"records.records[1].{field}"


def test_a_temporary_number_among_rows_is_kept_apart():
    request = rows(CERTIFIED, CORSICAN)
    request.records.records[1].ntt = "NTT-1234567890"
    records = batch(request, PSEUDONYMS, 2_000).records
    assert records["certified"].tolist() == [1, 0]
    assert bytes(records["person"][1]) == PSEUDONYMS.ntt("NTT-1234567890")
