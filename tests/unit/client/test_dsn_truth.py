"""The sample payroll files give the published montant net social, whatever the order and however often they come."""

import io
import itertools
import json
import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest
from solidarite_client.dsn import Item, read_dsn
from solidarite_client.models import DocumentSeal, ResourceRecord

SAMPLES = Path(__file__).parents[2] / "data" / "dsn"
TRUTH = json.loads((SAMPLES / "truth.json").read_text(encoding="utf-8"))

MONTHLY = [f"{employer}-2026-{month}" for employer in ("etoile", "opale") for month in ("07", "08", "09")]
REPLACED = [*MONTHLY, "etoile-2026-08-annule-et-remplace"]
CORRECTED = [*REPLACED, "etoile-2026-10-avec-corrections", "opale-2026-10-neant"]
STAGES = {
    "three_monthly_files_of_each_employer": MONTHLY,
    "then_annule_et_remplace_of_august": REPLACED,
    "then_october_with_corrections": CORRECTED,
}


class Ledger:
    """The rules of docs/stockage.md as a dictionary: what a store must come to, whatever it is made of."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, bytes, int], ResourceRecord] = {}
        self.sealed: dict[bytes, int] = {}
        self.counts: dict[tuple[bytes, int], int] = {}

    def receive(self, items: Iterable[Item]) -> "Ledger":
        for item in items:
            if isinstance(item, DocumentSeal):
                self._seal(item)
            else:
                key = (item.person_identifier, item.record_id, item.version)
                assert self.records.setdefault(key, item) == item, "same record and version, other content"
        return self

    def _seal(self, seal: DocumentSeal) -> None:
        document = seal.document
        key = (document.document_id, document.version)
        assert self.counts.setdefault(key, seal.record_count) == seal.record_count
        assert sum(r.document == document for r in self.records.values()) == seal.record_count
        self.sealed[document.document_id] = max(document.version, self.sealed.get(document.document_id, 0))

    def effective(self) -> list[ResourceRecord]:
        return [r for r in self.records.values() if self.sealed.get(r.document.document_id) == r.document.version]

    def months(self, person: str) -> dict[str, int]:
        total: dict[str, int] = defaultdict(int)
        for record in self.effective():
            if record.person_identifier == person:
                total[str(record.mois_rattachement)] += record.montant_net_social_cents
        return total


def read(name: str) -> list[Item]:
    return list(read_dsn(SAMPLES / f"{name}.dsn"))


def assert_truth(stage: str, ledger: Ledger) -> None:
    for name, expected in TRUTH["stages"][stage].items():
        months = ledger.months(TRUTH["persons"][name]["nir13"])
        assert {month: months.get(month, 0) for month in expected} == expected, name
        assert set(months) <= set(expected)


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_of_the_sample_gives_the_published_amounts(stage):
    ledger = Ledger().receive(item for name in STAGES[stage] for item in read(name))
    assert_truth(stage, ledger)


@pytest.mark.parametrize("stage", STAGES)
def test_every_file_twice_changes_nothing(stage):
    ledger = Ledger().receive(item for name in STAGES[stage] * 2 for item in read(name))
    assert_truth(stage, ledger)


@pytest.mark.parametrize("seed", range(40))
def test_any_order_of_the_files_gives_the_same_amounts(seed):
    names = CORRECTED + CORRECTED[:4]
    random.Random(seed).shuffle(names)
    assert_truth("then_october_with_corrections", Ledger().receive(item for name in names for item in read(name)))


def test_the_annule_et_remplace_wins_whether_it_comes_before_or_after():
    for names in itertools.permutations(["etoile-2026-08", "etoile-2026-08-annule-et-remplace"]):
        ledger = Ledger().receive(item for name in names for item in read(name))
        lucas, zoe = TRUTH["persons"]["lucas"]["nir13"], TRUTH["persons"]["zoe"]["nir13"]
        assert ledger.months(lucas) == {"2026-08": 88060}, "the dropped contract CDD-00007 no longer counts"
        assert ledger.months(zoe) == {"2026-08": 33015}, "the added person counts"


def test_the_person_with_a_temporary_number_is_kept_apart():
    ledger = Ledger().receive(item for name in MONTHLY for item in read(name))
    uncertified = [record for record in ledger.effective() if not record.certified]
    assert {record.ntt for record in uncertified} == {TRUTH["persons"]["sans_nir"]["ntt"]}
    assert all(record.nir is None and record.montant_net_social_cents == 70000 for record in uncertified)


def test_no_person_can_be_found_again_from_an_identifier():
    records = [item for name in MONTHLY for item in read(name) if isinstance(item, ResourceRecord)]
    amina = next(record for record in records if record.nir == TRUTH["persons"]["amina"]["nir13"])
    other = (SAMPLES / "etoile-2026-07.dsn").read_bytes().replace(b"2840575999101", b"2840575999177")
    path_independent = [item for item in _read_bytes(other) if isinstance(item, ResourceRecord)]
    assert path_independent[0].nir == "2840575999177"
    assert path_independent[0].record_id == amina.record_id


def _read_bytes(content: bytes) -> list[Item]:
    return list(read_dsn(io.BytesIO(content)))
