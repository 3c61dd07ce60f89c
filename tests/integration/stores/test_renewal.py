"""Pseudonyms renewed while a store serves: at any moment of it nothing is lost, doubled, or seen otherwise."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.ports import Store
from solidarite_server.services import keyring, renewal
from solidarite_server.storage import SqliteStore, open_store
from solidarite_server.storage.persons import Names

from tests.integration.stores.records import PERSON, HandClock, batch, record
from tests.integration.stores.renewals import PEOPLE, Model, acts, household, small_slices

ACTOR = "exploitant:essai"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    keyring.load_or_create(tmp_path / "cles")
    return tmp_path / "cles"


@pytest.fixture
def server(url: str, clock: HandClock, key_file: Path, request: pytest.FixtureRequest) -> Callable[..., Store]:
    """Opens the test's store as a server does, with that key file or another."""

    def open_it(keys: Path = key_file) -> Store:
        opened = open_store(url, clock=clock, keys=keyring.load(keys))
        if isinstance(opened, SqliteStore):
            opened.tidies_beside = False  # type: ignore[misc] - the same sequence each time
        request.addfinalizer(opened.close)
        return opened

    return open_it


def live(servers: list[Store], key_file: Path, seed: int, steps: int) -> Model:
    """A random life with renewals going on a slice at a time, on several servers of one store."""
    draw, model = random.Random(seed), Model()
    for step in range(steps):
        store = draw.choice(servers)
        what = draw.random()
        if what < 0.05 or step == 20:
            renewal.begin(store, key_file, ACTOR)
        elif what < 0.45:
            if not store.renew_some():
                store.end_renewal()
        elif what < 0.48:
            model.forget(store, draw.choice(PEOPLE))
        else:
            draw.choice(acts(model, draw))(store)
    return model


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_done_during_renewals_a_store_holds_what_dictionaries_do(
    seed: int, server: Callable[..., Store], key_file: Path, monkeypatch: pytest.MonkeyPatch
):
    small_slices(monkeypatch)
    servers = [server(), server()]
    model = live(servers, key_file, seed, 150)
    version = servers[0].pseudonym_version()
    assert version > 1
    for store in (*servers, server()):
        model.judge(store)
        assert store.check() == []
    renewal.finish(servers[0], version, ACTOR)
    for store in servers:
        model.judge(store)
        assert store.check() == []
        assert store.renewal() is None


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 160))
def test_the_same_for_longer(seed: int, server: Callable[..., Store], key_file: Path, monkeypatch: pytest.MonkeyPatch):
    test_whatever_is_done_during_renewals_a_store_holds_what_dictionaries_do(seed, server, key_file, monkeypatch)


def test_looking_for_one_name_only_would_lose_records_and_count_others_twice(
    server: Callable[..., Store], key_file: Path, monkeypatch: pytest.MonkeyPatch
):
    """The control: what judges a store sees a renewal that forgets the old names."""
    store, model = server(), Model()
    model.send(store, [("r", record(7, name="r", person=PEOPLE[0]))])
    renewal.begin(store, key_file, ACTOR)
    model.judge(store)
    monkeypatch.setattr(Names, "of_records", property(lambda names: (names.version,)))
    with pytest.raises(AssertionError):
        model.judge(store)
    with pytest.raises(AssertionError):
        model.send(store, [("r", record(7, name="r", person=PEOPLE[0]))])


def test_a_dossier_taken_for_renewed_before_it_is_would_name_somebody_else(
    server: Callable[..., Store], key_file: Path, monkeypatch: pytest.MonkeyPatch
):
    """The control of dossiers."""
    store, model = server(), Model()
    model.upsert(store, household("0001", PEOPLE[:2]))
    renewal.begin(store, key_file, ACTOR)
    model.judge(store)
    monkeypatch.setattr(Names, "of_dossier", lambda names, _: names.version)
    with pytest.raises(AssertionError):
        model.judge(store)


def test_records_of_before_during_and_after_a_renewal_are_the_same_records(
    server: Callable[..., Store], key_file: Path, monkeypatch: pytest.MonkeyPatch
):
    """Sent again, corrected and cancelled at each slice: the promise of the ingestion."""
    small_slices(monkeypatch)
    store, model = server(), Model()
    for k in range(3):
        model.send(store, [(f"r{k}", record(k, name=f"r{k}", person=person)) for person in PEOPLE])
    renewal.begin(store, key_file, ACTOR)
    slices = 0
    more = True
    while more:
        person = PEOPLE[slices % len(PEOPLE)]
        for name in ("r0", "r1", "r2"):
            model.send(store, [(name, one) for one in model.records[person, name].values()])
        model.send(store, [("r1", record(50 + slices, name="r1", person=person, version=2 + slices))])
        model.judge(store)
        more = store.renew_some()
        slices += 1
    assert slices > 3
    model.judge(store)
    assert store.end_renewal()
    model.judge(store)
    assert store.check() == []


def test_a_server_without_the_new_key_writes_nothing_until_it_has_it(
    server: Callable[..., Store], key_file: Path, tmp_path: Path
):
    shutil.copy(key_file, tmp_path / "copie")
    store, apart = server(), server(tmp_path / "copie")
    apart.append([batch(record(1, name="a"))])
    renewal.begin(store, key_file, ACTOR)
    for act in (lambda: apart.append([batch(record(1, name="b"))]), lambda: apart.records_of([PERSON])):
        with pytest.raises(StoreUnavailable, match="version 2"):
            act()
    assert len(store.records_of([PERSON])) == 1
    # Another key under the same number is no better.
    other = keyring.load(tmp_path / "copie").renewed()
    keyring.save(tmp_path / "copie", other)
    with pytest.raises(StoreUnavailable, match="version 2"):
        apart.append([batch(record(1, name="b"))])
    shutil.copy(key_file, tmp_path / "copie")
    assert apart.append([batch(record(1, name="a"), record(1, name="b"))])[0].unchanged == 1
    assert len(store.records_of([PERSON])) == len(apart.records_of([PERSON])) == 2


def test_a_second_renewal_waits_for_the_end_of_the_first(server: Callable[..., Store], key_file: Path):
    store, other = server(), server()
    store.append([batch(record(1, name="a"))])
    begun = renewal.begin(store, key_file, ACTOR)
    assert (begun.before, begun.version, begun.records) == (1, 2, 0)
    assert renewal.begin(other, key_file, ACTOR) == begun
    assert not other.begin_renewal(3)
    assert renewal.forget(other, key_file, ACTOR) is None
    assert not other.end_renewal()
    assert other.renew_some()
    renewal.finish(other, 2, ACTOR)
    assert store.renewal() is None
    assert renewal.forget(store, key_file, ACTOR) == 2
    assert set(keyring.load(key_file).wrapping) == {2}
    assert len(store.records_of([PERSON])) == 1


def test_a_check_says_that_something_was_left_under_the_old_key(server: Callable[..., Store], key_file: Path, url: str):
    store = server()
    store.append([batch(record(1, name="a"))])
    renewal.begin(store, key_file, ACTOR)
    assert store.check() == []
    with store._transaction() as commit:  # type: ignore[attr-defined]
        commit.session.run("UPDATE head SET renewal = NULL")
    assert any("ancienne version" in line for line in store.check())


def test_how_far_a_renewal_is_cannot_be_changed_unseen(server: Callable[..., Store], key_file: Path):
    store = server()
    store.append([batch(record(1, name="a"))])
    renewal.begin(store, key_file, ACTOR)
    ((kept,),) = store._reading().rows("SELECT renewal FROM head")  # type: ignore[attr-defined]
    with store._transaction() as commit:  # type: ignore[attr-defined]
        commit.session.run("UPDATE head SET renewal = ?", (kept.replace(b"0", b"1", 1),))
    with pytest.raises(StoreUnavailable, match="renouvellement"):
        store.records_of([PERSON])


def test_nothing_of_the_old_names_is_left_in_the_file(tmp_path: Path, clock: HandClock, key_file: Path):
    store = SqliteStore(tmp_path / "a.db", clock=clock, keys=keyring.load(key_file))
    model = Model()
    for k in range(40):  # enough for merges, whose pages are freed
        model.send(store, [(f"r{k}", record(k, name=f"r{k}", person=person)) for person in PEOPLE])
    model.upsert(store, household("0001", PEOPLE[:2]))
    names = [keyring.load(key_file).wrapped(person, 1) for person in PEOPLE]

    def held() -> int:
        data = b"".join(path.read_bytes() for path in tmp_path.glob("a.db*"))
        return sum(name in data or name.hex().encode() in data for name in names)

    assert held() == len(names)
    renewal.finish(store, renewal.begin(store, key_file, ACTOR).version, ACTOR)
    assert held() == 0
    model.judge(store)
    assert store.check() == []
    store.close()
