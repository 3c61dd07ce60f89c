"""Rows and columns of the contract mean the same."""

from datetime import date

import numpy as np
import pytest
from solidarite.v1 import common_pb2, resource_record_pb2
from solidarite_server.domain.errors import InvalidRequest
from solidarite_server.rpc.convert_records import batch
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
