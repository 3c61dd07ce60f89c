"""Records are checked where they are made, and the shared vocabulary is the one of the contract and of the server."""

from datetime import date

import pytest
from pydantic import ValidationError
from solidarite.v1 import common_pb2, resource_record_pb2
from solidarite_client import FluxSource, Mode, Month, NatureRessource, ResourceRecord
from solidarite_client.models import MAX_CENTS, days_since_epoch, is_permanent_nir, is_valid_nir, nir_key
from solidarite_server.domain import money, nir, record
from solidarite_server.domain.nature import NatureRessource as ServerNature

GOOD = {
    "record_id": bytes(16),
    "nir": "2840575999101",
    "flux_source": FluxSource.DSN,
    "declarant": "81234567800013",
    "nature": NatureRessource.SALAIRE,
    "date_versement": date(2026, 8, 31),
    "montant_net_social_cents": 121583,
}


def contract_names(enum, prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): number for name, number in enum.items() if number}


def test_names_and_numbers_are_those_of_the_contract_and_of_the_server():
    natures = {member.name: member.value for member in NatureRessource}
    assert natures == contract_names(common_pb2.NatureRessource, "NATURE_RESSOURCE_")
    assert natures == {member.name: member.value for member in ServerNature}
    assert {m.name: m.value for m in FluxSource} == contract_names(resource_record_pb2.FluxSource, "FLUX_SOURCE_")
    assert {m.name: m.value for m in Mode} == contract_names(resource_record_pb2.RecordMode, "RECORD_MODE_")
    assert {m.name: m.value for m in Mode} == {m.name: m.value for m in record.Mode}
    assert money.MAX_CENTS == MAX_CENTS


def test_what_a_source_may_send_is_what_the_server_prefills():
    assert [n.name for n in NatureRessource if n.carried_by_records] == [n.name for n in ServerNature if n.prefilled]


@pytest.mark.parametrize(
    "number", ["2840575999101", "181032A999104", "181032B999104", "7840575999101", "2550814168025"]
)
def test_numbers_are_checked_as_the_server_checks_them(number):
    assert is_valid_nir(number)
    assert nir.is_valid_nir(number)
    assert nir_key(number) == nir.nir_key(number)
    assert is_valid_nir(number, nir_key(number))
    assert not is_valid_nir(number, "00")


@pytest.mark.parametrize(
    "number", ["", "284057599910", "28405759991011", "184052C999101", "5840575999101", "284 575999101"]
)
def test_what_is_not_a_nir_is_refused(number):
    assert not is_valid_nir(number)
    assert not nir.is_valid_nir(number)


def test_numbers_that_begin_with_1_or_2_are_permanent():
    assert [is_permanent_nir(first + "840575999101") for first in "12347 8".replace(" ", "")] == [True] * 2 + [
        False
    ] * 4


def test_a_good_record_counts_for_the_month_of_its_payment():
    made = ResourceRecord(**GOOD)
    assert (made.mois_rattachement, made.mode, made.version, made.certified) == (Month(2026, 8), Mode.INITIAL, 1, True)


@pytest.mark.parametrize(
    "change",
    [
        {"record_id": bytes(15)}, {"record_id": "zz"}, {"version": 0}, {"version": 2**32}, {"nir": "SECRET9182"},
        {"nir": "2840575999101\n"}, {"nir": None}, {"ntt": "1812345678TMP0001"}, {"nir": None, "ntt": "short"},
        {"nir": None, "ntt": "1" * 41}, {"declarant": ""}, {"declarant": "8" * 15}, {"declarant": "81 2"},
        {"numero_contrat": "C" * 21}, {"numero_contrat": "É"}, {"nature": NatureRessource.AAH}, {"nature": 99},
        {"date_versement": date(1989, 12, 31)}, {"date_versement": date(2100, 1, 1)}, {"date_versement": "hier"},
        {"mois_rattachement": "2026-13"}, {"montant_net_social_cents": 10**13 + 1},
        {"montant_net_social_cents": 1.5}, {"mode": 4}, {"flux_source": 0}, {"unknown": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_that_breaks_a_rule_is_refused_without_repeating_it(change):
    with pytest.raises(ValidationError) as caught:
        ResourceRecord(**GOOD | change)
    assert "SECRET9182" not in str(caught.value)
    assert "2840575999101" not in str(caught.value)


def test_a_record_does_not_change():
    with pytest.raises(ValidationError):
        ResourceRecord(**GOOD).version = 2


def test_a_record_reads_back_from_its_json():
    made = ResourceRecord(**GOOD, mode=Mode.DIFFERENTIEL, mois_rattachement="2026-07")
    assert ResourceRecord.model_validate_json(made.model_dump_json()) == made


def test_days_and_months_are_counted_as_columns_hold_them():
    assert (days_since_epoch(date(1970, 1, 1)), days_since_epoch(date(1970, 2, 1))) == (0, 31)
    assert Month(2026, 8).index == 2026 * 12 + 7
    assert Month.from_index(Month(2026, 12).index + 1) == Month(2027, 1)
    assert Month(2026, 8) < Month(2026, 9) < Month(2027, 1)


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "2026-1", "202611", "1989-12", "2100-01", ""])
def test_a_month_has_one_written_form(text):
    with pytest.raises(ValueError, match="mois"):
        Month.parse(text)
