"""Each verb that opens the store itself leaves a line: which account of the system did what, and why."""

from __future__ import annotations

import io
import os
import pwd
from contextlib import closing
from pathlib import Path

import pytest
from solidarite_client.cli import main
from solidarite_server.ports import StoredAuditLine
from solidarite_server.services import keyring, renewal
from solidarite_server.services.clock import SystemClock
from solidarite_server.storage import SqliteStore

NIR = "2840575999101"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new store with its keys; the account is what the system says, not what the environment does."""
    for name in ("LOGNAME", "USER", "USERNAME"):
        monkeypatch.setenv(name, "un-autre")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{NIR}\n" * 3))
    keys = keyring.load_or_create(tmp_path / "s.db.key")
    SqliteStore(tmp_path / "s.db", clock=SystemClock(), keys=keys).close()
    return f"sqlite:///{tmp_path / 's.db'}"


def lines(folder: Path, name: str = "s.db") -> list[StoredAuditLine]:
    store = SqliteStore(folder / name, clock=SystemClock(), keys=keyring.load(folder / "s.db.key"))
    assert store.verify_audit() == []
    found = list(store.audit_lines())
    store.close()
    return found


@pytest.mark.parametrize(
    ("arguments", "action", "purpose"),
    [
        (["store", "backup", "COPIE", "--purpose", "nuit"], "BACKUP_STORE", "nuit"),
        (["store", "migrate"], "MIGRATE_STORE", "nouvelle version"),
        (["person", "export", "COPIE"], "EXPORT_PERSON", "droit d'accès"),
        (["person", "erase", "--yes", "--purpose", "demande 12"], "ERASE_PERSON", "demande 12"),
        (["pseudonyms", "forget"], "FORGET_PSEUDONYMS", "avant la version 1"),
        (["campaign", "run", "c", "--month", "2026-11"], "RUN_CAMPAIGN", "campagne"),
        (["campaign", "controls", "--month", "2026-11"], "RUN_CONTROLS", "contrôle"),
        (["simulate", "population", "--foyers", "2", "--processes", "1"], "FILL_STORE", "population synthétique"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_the_line_says_who_did_what_and_why(arguments: list[str], action: str, purpose: str, url: str, tmp_path: Path):
    arguments = [str(tmp_path / "copie") if argument == "COPIE" else argument for argument in arguments]
    assert main([*arguments, "--store", url]) == 0
    (line,) = lines(tmp_path)
    assert (line.action, line.purpose) == (action, purpose)
    assert line.actor == f"exploitant:{pwd.getpwuid(os.getuid()).pw_name}"
    assert NIR not in line.subject


def test_a_renewal_leaves_a_line_when_it_begins_and_one_when_it_ends(url: str, tmp_path: Path):
    assert main(["pseudonyms", "rotate", "--store", url]) == 0
    assert [(line.action, line.purpose) for line in lines(tmp_path)] == [
        ("ROTATE_PSEUDONYMS", "version 2"), ("ROTATE_PSEUDONYMS_END", "version 2"),
    ]  # fmt: skip


def test_a_renewal_that_was_cut_keeps_the_old_key_and_is_taken_up(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    key_file = tmp_path / "s.db.key"
    with closing(SqliteStore(tmp_path / "s.db", clock=SystemClock(), keys=keyring.load(key_file))) as store:
        renewal.begin(store, key_file, "exploitant:essai")
    held = key_file.read_bytes()
    assert main(["pseudonyms", "forget", "--store", url]) == 1
    assert "solidarite pseudonyms rotate" in capsys.readouterr().err
    assert key_file.read_bytes() == held
    assert main(["pseudonyms", "rotate", "--store", url]) == 0
    assert key_file.read_bytes() == held
    assert [(line.action, line.purpose) for line in lines(tmp_path)] == [
        ("ROTATE_PSEUDONYMS", "version 2"),
        ("ROTATE_PSEUDONYMS", "reprise vers la version 2"),
        ("ROTATE_PSEUDONYMS_END", "version 2"),
    ]
    assert main(["pseudonyms", "forget", "--store", url]) == 0
    assert set(keyring.load(key_file).wrapping) == {2}


def test_retention_and_restoration_leave_theirs(url: str, tmp_path: Path):
    assert main(["retention", "apply", "--store", url]) == 0
    assert main(["store", "backup", str(tmp_path / "copie"), "--store", url]) == 0
    assert main(["store", "restore", str(tmp_path / "copie"), "--store", url, "--replace", "--purpose", "panne"]) == 0
    assert [line.action for line in lines(tmp_path)] == ["RETENTION", "BACKUP_STORE", "RESTORE_STORE"]
    assert lines(tmp_path)[-1].purpose == "panne"
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_a_reason_that_holds_a_nir_is_refused_before_anything_is_done(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["store", "backup", str(tmp_path / "copie"), "--store", url, "--purpose", f"pour {NIR}"]) == 2
    assert "sans NIR" in capsys.readouterr().err
    assert not (tmp_path / "copie").exists()
    assert lines(tmp_path) == []


def test_a_store_whose_keys_are_elsewhere_is_not_touched_without_them(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["store", "backup", str(tmp_path / "copie"), "--store", url]) == 0
    (tmp_path / "s.db.key").rename(tmp_path / "ailleurs.key")
    before = (tmp_path / "s.db").read_bytes()
    assert main(["store", "restore", str(tmp_path / "copie"), "--store", url, "--replace"]) == 1
    assert "--key-file" in capsys.readouterr().err
    assert (tmp_path / "s.db").read_bytes() == before
    key = ["--key-file", str(tmp_path / "ailleurs.key")]
    assert main(["store", "restore", str(tmp_path / "copie"), "--store", url, "--replace", *key]) == 0


def test_a_campaign_leaves_its_line_in_a_store_that_never_had_keys_and_asks_for_those_that_seal_the_trail(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    SqliteStore(tmp_path / "sans-cle.db", clock=SystemClock()).close()
    assert main(["campaign", "run", "c", "--month", "2026-11", "--store", f"sqlite:///{tmp_path / 'sans-cle.db'}"]) == 0
    store = SqliteStore(tmp_path / "sans-cle.db", clock=SystemClock())
    assert [line.action for line in store.audit_lines()] == ["RUN_CAMPAIGN"]
    store.close()
    (tmp_path / "s.db.key").rename(tmp_path / "ailleurs.key")
    assert main(["campaign", "run", "c", "--month", "2026-11", "--store", url]) == 1
    assert "--key-file" in capsys.readouterr().err
