"""What stores do for the persons they hold, on every engine: pseudonyms renewed, erasure, retention to the day."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.domain.foyer import Foyer, Membre, Role
from solidarite_server.domain.month import Month
from solidarite_server.ports import AuditLine, CampaignBlock, CampaignRow, NewEvent, Store
from solidarite_server.services import codec, keyring, renewal
from solidarite_server.services.foyers import FoyerService
from solidarite_server.services.keyring import KeyFileError, Keyring
from solidarite_server.services.personal import (
    Retention,
    apply_retention,
    erase_person,
    export_person,
    months_before,
)
from solidarite_server.storage import SqliteStore, merging, open_store, sqlite
from solidarite_server.storage.runs import BLOCK_ROWS, FAN_IN

from tests.integration.stores.records import JULY, PERSON, HandClock, batch, record

OTHER = b"o" * 16
NOVEMBER = Month(2026, 11)
ACTOR = "exploitant:essai"
LINE = AuditLine(ACTOR, "ERASE_PERSON", "trace", "essai")


def household(numero: str, allocataire: bytes, conjoint: bytes | None = None) -> Foyer:
    membres = [Membre("a", Role.ALLOCATAIRE, date(1990, 1, 1), allocataire)]
    if conjoint is not None:
        membres.append(Membre("c", Role.CONJOINT, date(1991, 1, 1), conjoint))
    return Foyer(numero, tuple(membres))


def fill(store: Store) -> None:
    """Two persons with three records each, a household of each and one of both, a declaration and a result."""
    for k in range(3):
        store.append([batch(record(k, name=f"r{k}"), record(k, name=f"o{k}", person=OTHER))])
    FoyerService(store).upsert([household("1", PERSON, OTHER), household("2", OTHER)])
    FoyerService(store).upsert([replace(household("1", PERSON, OTHER), departement="34")])
    for numero in "12":
        store.keep([NewEvent(numero, NOVEMBER, 0, "AMENDED", b"{}", "q", b"h")])
    store.start_campaign("c", NOVEMBER, [])
    store.keep_block("c", CampaignBlock(0, 2, {}, 3, 4), [CampaignRow("1", 1, 2), CampaignRow("2", 2, 2)])


def seen(store: Store) -> object:
    """All that the use cases see of a store."""
    return (
        store.records_of([PERSON, OTHER]),
        [store.foyer_versions(numero) for numero in "12"],
        store.foyers_between("", None),
        store.dossiers_of(PERSON),
        [store.events(numero, NOVEMBER) for numero in "12"],
    )


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    keyring.load_or_create(tmp_path / "cles")
    return tmp_path / "cles"


@pytest.fixture
def servers(url: str, clock: HandClock, key_file: Path, request: pytest.FixtureRequest) -> Callable[[], Store]:
    """Opens the test's store as a server with that key file does."""

    def open_it() -> Store:
        opened = open_store(url, clock=clock, keys=keyring.load(key_file))
        request.addfinalizer(opened.close)
        return opened

    return open_it


def renew(store: Store, key_file: Path) -> None:
    """What `solidarite pseudonyms rotate` does."""
    renewal.finish(store, renewal.begin(store, key_file, ACTOR).version, ACTOR)


def test_renewed_pseudonyms_change_what_is_on_disk_and_nothing_of_what_is_seen(
    servers: Callable[[], Store], key_file: Path
):
    store = servers()
    fill(store)
    before, old = seen(store), keyring.load(key_file)
    served_meanwhile = servers()
    assert seen(served_meanwhile) == before
    renew(store, key_file)
    assert seen(store) == before
    # A server that was running reads the new key by itself, also to write: what is sent again is known again.
    assert seen(served_meanwhile) == before
    assert served_meanwhile.append([batch(record(0, name="r0"))])[0].unchanged == 1
    assert served_meanwhile.check() == []
    assert store.pseudonym_version() == 2
    # The old keys find nobody any more, and are told so.
    with pytest.raises(StoreUnavailable, match="version 2"):
        replace_keys(store, replace(old, path=None)).records_of([PERSON])


def replace_keys(store: Store, keys: Keyring) -> Store:
    store._persons._keys = keys  # type: ignore[attr-defined]
    return store


def test_records_sent_while_pseudonyms_are_renewed_count_once(servers: Callable[[], Store], key_file: Path):
    store, other = servers(), servers()
    fill(store)
    stop, sent, failures = threading.Event(), 0, list[BaseException]()

    def send() -> None:
        nonlocal sent
        while not stop.is_set():
            try:
                assert other.append([batch(record(7, name=f"n{sent}"))])[0].accepted == 1
                assert other.append([batch(record(7, name=f"n{sent}"))])[0].unchanged == 1
                assert len(other.records_of([PERSON])) == sent + 4
            except BaseException as error:
                failures.append(error)
                return
            sent += 1

    thread = threading.Thread(target=send)
    thread.start()
    for _ in range(4):
        renew(store, key_file)
    stop.set()
    thread.join()
    assert failures == []
    assert len(store.records_of([PERSON])) == sent + 3
    assert store.pseudonym_version() == 5
    assert store.check() == []


def test_a_reader_without_keys_sees_its_households_and_stops_at_a_renewal(
    servers: Callable[[], Store], url: str, clock: HandClock, key_file: Path
):
    store = servers()
    fill(store)
    blind = open_store(url, clock=clock)
    try:
        ((_, held), _) = blind.foyers_between("", None)
        persons = [m.pseudonyme for m in codec.loads(Foyer, held.payload).membres]
        assert PERSON not in persons
        assert len(blind.records_of([p for p in persons if p])) == 6
        with pytest.raises(StoreUnavailable, match="clés"):
            blind.append([batch(record(9, name="x"))])
        renew(store, key_file)
        with pytest.raises(StoreUnavailable, match="renouvelés"):
            blind.records_of([PERSON])
    finally:
        blind.close()


def test_the_keys_of_another_store_are_refused(servers: Callable[[], Store], url: str, clock: HandClock):
    fill(servers())
    for keys in (Keyring(b"z" * 32), Keyring(b"z" * 32).renewed()):
        with pytest.raises(KeyFileError):
            open_store(url, clock=clock, keys=keys)


def test_an_erased_person_is_nowhere_and_the_others_are_as_they_were(store: Store):
    fill(store)
    others = store.records_of([OTHER])
    done = erase_person(store, PERSON, LINE)
    assert (done.records, done.dossiers, done.unlinked) == (3, ("1",), ())
    assert store.records_of([PERSON]) == []
    assert store.records_of([OTHER]) == others
    assert (store.foyer("1"), store.events("1", NOVEMBER), store.campaign_rows_of("1")) == (None, [], [])
    assert store.foyer("2") is not None
    assert len(store.campaign_rows_of("2")) == 1
    assert store.dossiers_of(PERSON) == []
    assert [line.action for line in store.audit_lines()] == ["ERASE_PERSON"]
    assert store.check() == []


def test_a_household_is_kept_for_the_others_without_a_link_to_the_erased_one(store: Store):
    fill(store)
    done = erase_person(store, OTHER, LINE)
    assert (done.records, done.dossiers, done.unlinked) == (3, ("2",), ("1",))
    for version in store.foyer_versions("1"):
        assert [m.pseudonyme for m in codec.loads(Foyer, version.payload).membres] == [PERSON, None]
    assert len(store.foyer_versions("1")) == 2
    assert len(store.events("1", NOVEMBER)) == 1


def test_nothing_of_an_erased_person_is_left_in_the_file(tmp_path: Path, clock: HandClock):
    keys = Keyring(b"k" * 32, {1: b"w" * 32})
    store = SqliteStore(tmp_path / "a.db", clock=clock, keys=keys)
    fill(store)
    name = keys.wrapped(PERSON, 1)

    def held() -> bool:
        data = b"".join(path.read_bytes() for path in tmp_path.glob("a.db*"))
        return name in data or name.hex().encode() in data

    assert held()
    erase_person(store, PERSON, LINE)
    store.tidy()
    assert not held()
    store.close()
    assert not held()


def test_an_erasure_during_a_long_read_says_that_the_file_still_holds_it(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
):
    """A backup, a check: the log is overwritten once they are over, and not before."""
    monkeypatch.setattr(sqlite, "_WIPE_SECONDS", 0.1)
    keys = Keyring(b"k" * 32, {1: b"w" * 32})
    store = SqliteStore(tmp_path / "a.db", clock=clock, keys=keys)
    fill(store)

    def held() -> bool:
        return any(keys.wrapped(PERSON, 1) in path.read_bytes() for path in tmp_path.glob("a.db*"))

    with closing(sqlite3.connect(tmp_path / "a.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM foyer").fetchone()
        with pytest.raises(StoreUnavailable, match="relancez"):
            erase_person(store, PERSON, LINE)
        assert store.records_of([PERSON]) == []
        assert held()
        # Who writes does not wait for the end of that read.
        store.append([batch(record(9, name="r9", person=OTHER))])
    assert erase_person(store, PERSON, LINE).records == 0
    assert not held()
    store.close()


def test_nothing_of_an_erased_person_is_left_where_merges_had_put_it(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
):
    """Neither in pages that merges freed, nor in runs that a merge by ranges has half taken over."""
    monkeypatch.setattr(merging, "_SLICE_ROWS", 16 * BLOCK_ROWS)
    monkeypatch.setattr(merging, "_RANGE_ROWS", 16 * BLOCK_ROWS)
    keys = Keyring(b"k" * 32, {1: b"w" * 32})
    store = SqliteStore(tmp_path / "a.db", clock=clock, keys=keys)
    store.tidies_beside = False  # type: ignore[misc]
    people = [bytes([n]) * 16 for n in range(1, 251)]
    store.tidy = lambda: None  # type: ignore[method-assign]
    for k in range(FAN_IN):
        store.append([batch(*[record(k, name=f"{k}", person=person) for person in people])])
    while not store._writer.rows("SELECT 1 FROM run_part"):
        assert store._tidied_some()
    erased = sorted(people, key=lambda person: keys.wrapped(person, 1))
    for person in (erased[0], erased[50], erased[249]):
        assert erase_person(store, person, LINE).records == FAN_IN
        data = b"".join(path.read_bytes() for path in tmp_path.glob("a.db*"))
        assert keys.wrapped(person, 1) not in data
        assert keys.wrapped(erased[1], 1) in data
    assert store.check() == []
    SqliteStore.tidy(store)
    SqliteStore.tidy(store)  # the merge begun had to be begun again
    assert store.check() == []
    assert len(store.records_of(people)) == 247 * FAN_IN
    data = b"".join(path.read_bytes() for path in tmp_path.glob("a.db*"))
    assert keys.wrapped(erased[50], 1) not in data
    store.close()


def test_a_merge_begun_before_a_renewal_begins_again(tmp_path: Path, clock: HandClock):
    keyring.load_or_create(tmp_path / "cles")
    store = SqliteStore(tmp_path / "a.db", clock=clock, keys=keyring.load(tmp_path / "cles"))
    for k in range(40):
        store.append([batch(*[record(k, name=f"{k}-{n}", person=bytes([n]) * 16) for n in range(30)])])
        if k % 10 == 9:
            renew(store, tmp_path / "cles")
    store.tidy()
    assert store.check() == []
    assert len(store.records_of([bytes([n]) * 16 for n in range(30)])) == 1_200
    store.close()


def test_an_export_holds_everything_and_no_pseudonym(store: Store):
    fill(store)
    store.write_audit([AuditLine("agent:a", "GET_FOYER", "1", "consultation"), AuditLine("agent:a", "X", "9", "y")])
    found = export_person(store, PERSON, "trace")
    assert [held["montant_net_social_centimes"] for held in found["ressources"]] == [0, 1, 2]
    ((dossier),) = found["dossiers"]
    assert (dossier["numero_allocataire"], len(dossier["versions"])) == ("1", 2)
    assert [m["personne_concernee"] for m in dossier["versions"][0]["dossier"]["membres"]] == [True, False]
    assert [d["mois"] for d in dossier["declarations"]] == ["2026-11"]
    assert dossier["campagnes"] == [{"campagne": "c", "rsa_centimes": 1, "prime_activite_centimes": 2}]
    assert [line["action"] for line in found["consultations"]] == ["GET_FOYER"]
    text = json.dumps(found)
    assert PERSON.hex() not in text
    assert OTHER.hex() not in text


def test_who_left_a_household_is_not_shown_what_it_became(store: Store):
    new = b"n" * 16
    foyers = FoyerService(store)

    def event(sequence: int, name: str) -> None:
        told = json.dumps({"dit": name}).encode()
        store.keep([NewEvent("1", NOVEMBER, sequence, "AMENDED", told, name, b"h")])
        store.write_audit([AuditLine("agent:a", "GET_FOYER", "1", name)])

    foyers.upsert([household("1", OTHER, PERSON)])
    event(0, "ensemble")
    foyers.upsert([household("1", OTHER)])
    event(1, "seul")
    foyers.upsert([household("1", OTHER, new)])
    event(2, "avec quelqu'un d'autre")
    store.start_campaign("c", NOVEMBER, [])
    store.keep_block("c", CampaignBlock(0, 1, {}, 1, 2), [CampaignRow("1", 1, 2)])

    def shown(person: bytes) -> tuple[int, list[str], list[str], int]:
        found = export_person(store, person, "trace")
        (dossier,) = found["dossiers"]
        events = [event["contenu"]["dit"] for month in dossier["declarations"] for event in month["evenements"]]
        read = [line["motif"] for line in found["consultations"]]
        return len(dossier["versions"]), events, read, len(dossier["campagnes"])

    every = ["ensemble", "seul", "avec quelqu'un d'autre"]
    assert shown(OTHER) == (3, every, every, 1)
    assert shown(PERSON) == (1, every[:1], every[:1], 0)
    assert shown(new) == (1, every[2:], every[2:], 1)


@pytest.mark.parametrize(
    ("day", "months", "before"),
    [
        (date(2026, 11, 25), 12, date(2025, 11, 25)), (date(2026, 3, 31), 1, date(2026, 2, 28)),
        (date(2028, 2, 29), 12, date(2027, 2, 28)), (date(2026, 1, 1), 36, date(2023, 1, 1)),
    ],
)  # fmt: skip
def test_a_time_limit_is_the_same_day_of_an_earlier_month(day: date, months: int, before: date):
    assert months_before(day, months) == before


def test_records_are_purged_to_the_day(store: Store):
    paid = date(2023, 11, 25)
    days = [paid + timedelta(days=shift) for shift in (-1, 0, 1)]
    store.append([batch(*[record(k, name=f"{k}", date_versement=day) for k, day in enumerate(days)])])
    # Three years later, to the day: what was paid the day before is over its time, and that alone.
    done = apply_retention(store, Retention(records=36), date(2026, 11, 25), "exploitant:essai")
    assert done["enregistrements"] == 1
    assert [held.record.date_versement for held in store.records_of([PERSON])] == days[1:]
    assert apply_retention(store, Retention(records=36), date(2026, 11, 25), "e")["enregistrements"] == 0
    assert store.check() == []


def at(clock: HandClock, day: str) -> None:
    clock.us = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1_000_000)


def test_declarations_dossiers_and_audit_lines_are_purged_to_the_day(store: Store, clock: HandClock):
    for numero, day in (("1", "2023-11-24T22:59"), ("2", "2023-11-24T23:00")):  # midnight in Paris between the two
        at(clock, day)
        FoyerService(store).upsert([household(numero, PERSON)])
        store.keep([NewEvent(numero, JULY, 0, "AMENDED", b"{}", "q", b"h")])
        store.write_audit([AuditLine("agent:a", "GET_FOYER", numero, "consultation")])
    at(clock, "2024-01-01")
    FoyerService(store).upsert([replace(household("2", PERSON), departement="34")])
    done = apply_retention(store, Retention(36, 36, 36), date(2026, 11, 25), "exploitant:essai")
    assert done == {
        "enregistrements": 0, "événements de déclarations": 1, "versions de dossiers": 1, "lignes d'audit": 1,
    }  # fmt: skip
    assert (store.foyer("1"), store.events("1", JULY)) == (None, [])
    # The first version of dossier 2 was replaced after the limit: a declaration may still stand on it.
    assert len(store.foyer_versions("2")) == 2
    assert len(store.events("2", JULY)) == 1
    assert [line.subject for line in store.audit_lines()] == ["2", "*"]
    assert store.verify_audit() == []
    store.write_audit([AuditLine("agent:a", "GET_FOYER", "2", "consultation")])
    assert store.verify_audit() == []
