"""What the DSN reader makes of each part of a file."""

import io
from datetime import date
from pathlib import Path

import pytest
from solidarite_client.dsn import Item, check_dsn, read_dsn
from solidarite_client.models import DocumentSeal, FluxSource, Mode, Month, NatureRessource, ResourceRecord

from tests.unit.client.dsn_builder import (
    NIR,
    OTHER_NIR,
    declaration,
    dsn,
    encode,
    header,
    lines,
    net,
    payment,
    person,
)


def items(content: bytes) -> list[Item]:
    return list(read_dsn(io.BytesIO(content)))


def records(content: bytes) -> list[ResourceRecord]:
    return [item for item in items(content) if isinstance(item, ResourceRecord)]


def one(content: bytes) -> ResourceRecord:
    (record,) = records(content)
    return record


def test_a_payment_becomes_a_record_followed_by_the_seal_of_its_declaration():
    record, seal = items(dsn(declaration(person(payment(net("1215.83"))))))
    assert isinstance(record, ResourceRecord)
    assert record.nir == NIR
    assert record.ntt is None
    assert record.version == 1
    assert record.flux_source is FluxSource.DSN
    assert record.nature is NatureRessource.SALAIRE
    assert record.declarant == "81234567800013"
    assert record.numero_contrat == "C1"
    assert record.date_versement == date(2026, 8, 31)
    assert record.mois_rattachement == Month(2026, 8)
    assert record.montant_net_social_cents == 121583
    assert record.mode is Mode.INITIAL
    assert seal == DocumentSeal(document=record.document, record_count=1)


def test_line_feeds_alone_are_read_like_carriage_returns():
    content = dsn(declaration(person(payment(net()))))
    assert items(content.replace(b"\r\n", b"\n")) == items(content)


def test_a_last_line_without_its_end_is_read():
    content = dsn(declaration(person(payment(net()))))
    assert items(content.rstrip(b"\r\n")) == items(content)


def test_quotes_inside_a_value_belong_to_it():
    content = dsn(declaration(person(payment(net(), contract="L'AN',''01'"), contracts=["L'AN',''01'"])))
    assert one(content).numero_contrat == "L'AN',''01'"


def test_a_file_cut_into_blocks_anywhere_reads_the_same(monkeypatch):
    content = dsn(declaration(person(payment(net())), person(payment(net("7.00")), nir=OTHER_NIR)))
    expected = items(content)
    for size in (16, 17, 23, 64, 1000):
        monkeypatch.setattr("solidarite_client.dsn._BLOCK_BYTES", size)
        assert items(content) == expected, size


@pytest.mark.parametrize("norm", ["P24V01", "P25V01", "P26V01"])
def test_the_three_norms_in_use_are_read(norm):
    assert len(items(encode(lines(header(norm), declaration(person(payment(net()))))))) == 2


def test_the_siret_is_the_siren_and_the_nic_of_the_establishment_not_of_the_head_office():
    assert one(dsn(declaration(person(payment(net())), siren="798765432", nic="00025"))).declarant == "79876543200025"


@pytest.mark.parametrize("nir", ["181032A999104", "181032B999104", "2550814168025", "1901175999102"])
def test_permanent_numbers_are_certified_in_corsica_too(nir):
    record = one(dsn(declaration(person(payment(net()), nir=nir))))
    assert record.certified
    assert record.nir == nir


@pytest.mark.parametrize("nir", ["7840575999101", "8840575999101", "3840575999101", "4840575999101"])
def test_a_provisional_number_is_not_certified(nir):
    record = one(dsn(declaration(person(payment(net()), nir=nir))))
    assert not record.certified
    assert record.ntt == nir


def test_a_temporary_number_stands_in_for_a_missing_nir():
    record = one(dsn(declaration(person(payment(net()), nir=None, ntt="1812345678TMP0001"))))
    assert (record.nir, record.ntt, record.certified) == (None, "1812345678TMP0001", False)


def test_the_nir_wins_over_the_temporary_number_beside_it():
    assert one(dsn(declaration(person(payment(net()), nir=NIR, ntt="1812345678TMP0001")))).nir == NIR


def test_other_types_of_net_amounts_are_ignored():
    found = records(dsn(declaration(person(payment(net("42.10", kind="01"), net("9.99"), net("209.15", kind="10"))))))
    assert [record.montant_net_social_cents for record in found] == [999]


@pytest.mark.parametrize(
    ("text", "cents"), [("0.00", 0), ("-120.50", -12050), ("0.01", 1), ("-0.05", -5), ("007.10", 710)]
)
def test_amounts_are_exact_cents(text, cents):
    assert one(dsn(declaration(person(payment(net(text)))))).montant_net_social_cents == cents


def test_pay_of_july_paid_in_august_counts_for_august():
    paid_late = payment(net(), paid="05082026", period=("01072026", "31072026"))
    assert one(dsn(declaration(person(paid_late), month="01072026"))).mois_rattachement == Month(2026, 8)


@pytest.mark.parametrize(
    ("paid", "dates", "period"),
    [
        ("31082026", ("31082026", "31082026"), ("01082026", "31082026")),
        ("31082026", ("01082026", "31082026"), ("01082026", "31082026")),
        ("05082026", ("01072026", "31072026"), ("01072026", "31072026")),
        ("05082026", ("14072026", "14072026"), ("14072026", "14072026")),
        ("31082026", ("01062026", "30062026"), ("01082026", "31082026")),
    ],
    ids=[
        "the day of the payment itself",
        "the pay period",
        "the pay period of shifted payroll",
        "a pay period of one day of work",
        "the period of arrears paid now",
    ],
)
def test_dates_that_are_no_earlier_payment_leave_the_amount_to_this_one(paid, dates, period):
    record = one(dsn(declaration(person(payment(net(dates=dates), paid=paid, period=period)))))
    assert record.mode is Mode.INITIAL
    assert record.mois_rattachement == Month.of(record.date_versement)


def test_an_earlier_payment_date_makes_a_difference_attached_to_its_month():
    corrected = payment(net("1250.00"), net("-120.50", dates=("30092026", "30092026")), paid="31102026")
    initial, difference = records(dsn(declaration(person(corrected), month="01102026")))
    assert (initial.mode, initial.mois_rattachement) == (Mode.INITIAL, Month(2026, 10))
    assert (difference.mode, difference.mois_rattachement) == (Mode.DIFFERENTIEL, Month(2026, 9))
    assert difference.date_versement == date(2026, 10, 31)
    assert difference.montant_net_social_cents == -12050
    assert difference.record_id != initial.record_id


def test_without_a_contract_in_the_payment_the_only_contract_of_the_person_is_meant():
    assert one(dsn(declaration(person(payment(net(), contract=None), contracts=["C7"])))).numero_contrat == "C7"


def test_without_a_contract_in_the_payment_several_contracts_leave_it_empty():
    assert one(dsn(declaration(person(payment(net(), contract=None), contracts=["C7", "C8"])))).numero_contrat == ""


# -- identity and version ----------------------------------------------------------------------------------------------


def test_the_order_number_is_the_version_and_leaves_the_identity_alone():
    first, second = (one(dsn(declaration(person(payment(net())), order=order))) for order in ("1", "2"))
    assert (first.version, second.version) == (1, 2)
    assert first.record_id == second.record_id
    assert first.document.document_id == second.document.document_id
    assert second.document.version == 2


def test_another_amount_keeps_the_identity():
    first, second = (one(dsn(declaration(person(payment(net(amount)))))) for amount in ("1.00", "2.00"))
    assert first.record_id == second.record_id


@pytest.mark.parametrize(
    "change", [{"month": "01092026"}, {"fraction": "12"}, {"nic": "00014"}, {"siren": "812345679"}]
)
def test_another_month_fraction_or_establishment_is_another_document(change):
    first, second = (one(dsn(declaration(person(payment(net())), **part))) for part in ({}, change))
    assert first.document.document_id != second.document.document_id
    assert first.record_id != second.record_id


def test_another_contract_or_payment_date_is_another_record():
    found = records(
        dsn(
            declaration(
                person(
                    payment(net()),
                    payment(net(), contract="C2"),
                    payment(net(), paid="15082026"),
                    contracts=["C1", "C2"],
                )
            )
        )
    )
    assert len({record.record_id for record in found}) == 3


def test_two_equal_payments_of_one_day_are_two_records():
    found = records(dsn(declaration(person(payment(net()), payment(net())))))
    assert len({record.record_id for record in found}) == 2


def test_a_person_who_appears_twice_in_a_declaration_has_two_records():
    twice = dsn(declaration(person(payment(net())), person(payment(net()), nir=OTHER_NIR), person(payment(net()))))
    found = [record for record in records(twice) if record.nir == NIR]
    assert len({record.record_id for record in found}) == 2
    assert records(twice) == records(twice)


# -- kinds of declarations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["02", "04", "05"])
def test_a_declaration_neant_or_annule_is_a_seal_without_records(kind):
    (seal,) = items(dsn(declaration(kind=kind, order="3")))
    assert isinstance(seal, DocumentSeal)
    assert (seal.record_count, seal.document.version) == (0, 3)


def test_a_cancelled_declaration_counts_for_nothing_even_when_it_repeats_its_payments():
    (seal,) = items(dsn(declaration(person(payment(net())), kind="04", order="2")))
    assert seal.record_count == 0


def test_a_declaration_without_payment_is_sealed_empty():
    (seal,) = items(dsn(declaration(person())))
    assert seal.record_count == 0


def test_one_file_may_hold_several_declarations_each_with_its_seal():
    content = dsn(
        declaration(person(payment(net()), payment(net(), paid="15082026"))),
        declaration(kind="02", nic="00021"),
        declaration(person(payment(net())), nic="00039"),
    )
    shape = [item.record_count if isinstance(item, DocumentSeal) else "record" for item in items(content)]
    assert shape == ["record", "record", 2, 0, "record", 1]
    assert {record.declarant[9:] for record in records(content)} == {"00013", "00039"}


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_path_and_an_open_file_read_the_same(tmp_path: Path):
    content = dsn(declaration(person(payment(net()))))
    (tmp_path / "a.dsn").write_bytes(content)
    assert list(read_dsn(tmp_path / "a.dsn")) == items(content)
    assert check_dsn(tmp_path / "a.dsn") == 1
