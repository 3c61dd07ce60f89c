"""`solidarite doctor` names what is wrong and what to do; `store restore` puts back a copy, and only a good one."""

from __future__ import annotations

import gzip
import json
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from solidarite_client.cli import main
from solidarite_server.settings import CONFIG_VARIABLE

from tests.integration.operation.test_tls import Files
from tests.robustness.ledger import Ledger, Source, held_by
from tests.robustness.served import running

STORE_OF_BEFORE = Path(__file__).parents[2] / "data" / "stores" / "sqlite-0002.db.gz"


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, "")


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands find the keys where the server does."""
    monkeypatch.setenv("SOLIDARITE_PSEUDONYM_KEY_FILE", str(tmp_path / "key"))


def examined(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    capsys.readouterr()
    code = main(["doctor", "--json", *arguments])
    return code, {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def test_a_healthy_installation_is_all_right_and_is_not_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    with running(tmp_path) as served:
        Source("a", Ledger(), 1).stream(served.address, 2)
    os.chmod(tmp_path / "key", 0o600)
    monkeypatch.setenv("SOLIDARITE_PSEUDONYM_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("SOLIDARITE_LISTEN", "127.0.0.1:0")
    code, found = examined(capsys, "--store", f"sqlite:///{tmp_path / 'a.db'}", "--complete")
    assert code == 0, found
    assert {row["state"] for name, row in found.items() if name != "règles compilées"} == {"ok"}, found
    assert {
        "réglages",
        "versions",
        "TLS",
        "clé des pseudonymes",
        "listen",
        "disque",
        "magasin",
        "horloge",
        "intégrité",
    } <= set(found)
    assert main(["doctor", "--store", f"sqlite:///{tmp_path / 'a.db'}"]) == 0
    assert "ok         magasin : " in capsys.readouterr().out


def test_each_thing_that_is_wrong_is_named_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "autre").mkdir()
    files, other = Files(tmp_path), Files(tmp_path / "autre")
    (tmp_path / "cle").write_bytes(bytes(32))
    os.chmod(tmp_path / "cle", 0o644)
    (tmp_path / "a.db").write_bytes(b"pas une base" * 1_000)
    monkeypatch.setenv("SOLIDARITE_PSEUDONYM_KEY_FILE", str(tmp_path / "cle"))
    monkeypatch.setenv("SOLIDARITE_TLS_CERTIFICATE_FILE", str(files.certificate))
    monkeypatch.setenv("SOLIDARITE_TLS_KEY_FILE", str(other.key))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("SOLIDARITE_LISTEN", f"127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("SOLIDARITE_METRICS_LISTEN", "x" * 64 + ":9464")
        code, found = examined(capsys, "--store", f"sqlite:///{tmp_path / 'a.db'}")
    assert code == 1
    states = {name: row["state"] for name, row in found.items()}
    assert states["TLS"] == states["clé des pseudonymes"] == states["metrics_listen"] == states["magasin"] == "erreur"
    assert states["listen"] == "attention"
    assert found["clé des pseudonymes"]["advice"] == "chmod 600 cle"
    assert all(row["advice"] for row in found.values() if row["state"] == "erreur")
    monkeypatch.setenv("SOLIDARITE_WORKERS", "mille")
    code, found = examined(capsys)
    assert (code, found["réglages"]["state"]) == (1, "erreur")


def test_before_anything_exists_doctor_says_what_the_first_start_will_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SOLIDARITE_LISTEN", "127.0.0.1:0")
    code, found = examined(capsys, "--store", f"sqlite:///{tmp_path / 'a.db'}")
    assert code == 0
    assert found["magasin"]["state"] == found["clé des pseudonymes"]["state"] == "attention"
    assert not list(tmp_path.iterdir())


def test_a_store_is_told_from_a_folder_from_nothing_and_from_one_of_other_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    with running(tmp_path) as served:
        Source("a", Ledger(), 1).stream(served.address, 1)
    monkeypatch.setenv("SOLIDARITE_LISTEN", "127.0.0.1:0")
    (tmp_path / "vide.db").touch()
    assert examined(capsys, "--store", f"sqlite:///{tmp_path}")[1]["magasin"]["found"].endswith("est attendu")
    assert "est vide" in examined(capsys, "--store", f"sqlite:///{tmp_path / 'vide.db'}")[1]["magasin"]["found"]
    assert (tmp_path / "vide.db").read_bytes() == b""
    url, missing, other = f"sqlite:///{tmp_path / 'a.db'}", tmp_path / "absente", tmp_path / "autre"
    other.write_bytes(bytes(32))
    other.chmod(0o600)
    for key, name, told in (
        (missing, "clé des pseudonymes", "n'existe pas, et le magasin a la sienne"),
        (other, "magasin", "pas celui de ce magasin"),
    ):
        monkeypatch.setenv("SOLIDARITE_PSEUDONYM_KEY_FILE", str(key))
        code, found = examined(capsys, "--store", url)
        assert (code, found[name]["state"]) == (1, "erreur")
        assert told in found[name]["found"]
        assert main(["serve", "--store", url]) == 1
        assert "magasin" in capsys.readouterr().err
    assert not missing.exists()  # a key made now would be taken for the one that was lost


def test_a_file_of_the_wrong_kind_is_told_in_french(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for arguments in (["--store", f"sqlite:///{tmp_path}"], ["--store", "sqlite:////proc/version"]):
        assert main(["serve", "--listen", "127.0.0.1:0", *arguments]) == 1
        assert main(["audit", "show", "--key-file", str(tmp_path), *arguments]) == 1
    told = capsys.readouterr().err
    assert "Errno" not in told
    assert told.count("c'est un répertoire, un fichier est attendu") == 3, told


def test_only_who_asks_for_it_changes_the_schema(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    store, key = tmp_path / "a.db", tmp_path / "a.db.key"
    store.write_bytes(gzip.decompress(STORE_OF_BEFORE.read_bytes()))
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # as the server that made it left it
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    before, url = store.read_bytes(), f"sqlite:///{store}"
    monkeypatch.setenv("SOLIDARITE_LISTEN", "127.0.0.1:0")
    assert examined(capsys, "--store", url)[1]["schéma"]["state"] == "attention"
    for verb in (["store", "check"], ["store", "backup", str(tmp_path / "copie.db")], ["audit", "show"]):
        assert main([*verb, "--store", url]) == 1
        assert "arrêtez ses serveurs, copiez-le, puis « solidarite store migrate »" in capsys.readouterr().err
    assert store.read_bytes() == before
    assert main(["store", "migrate", "--store", url]) == 0
    assert main(["store", "check", "--store", url]) == 0


@pytest.mark.postgres
def test_a_postgresql_that_refuses_says_what_to_look_at_and_never_its_password(
    postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "key").write_bytes(bytes(32))
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setenv("SOLIDARITE_PSEUDONYM_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("SOLIDARITE_LISTEN", "127.0.0.1:0")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS sans_droit")
        connection.execute("CREATE ROLE sans_droit LOGIN")
        weak = postgres_url.replace("//postgres:", "//sans_droit:tres-secret")
        told = ""
        for url, expected in (
            (postgres_url, "Ce magasin est vide"),
            (weak, "refuse au service un droit"),
            (f"{postgres_url}&options=-c%20default_transaction_read_only%3Don", "est-ce une réplique"),
            ("postgresql://svc:tres-secret@127.0.0.1:1/absente", "ne répond pas, ou refuse l'utilisateur"),
        ):
            found = examined(capsys, "--store", url)[1]["magasin"]
            assert expected in found["found"]
            assert "store restore" not in found["advice"]
            assert main(["store", "check", "--store", url]) == 1
            told += f"{found}{capsys.readouterr().err}"
        assert "tres-secret" not in told
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert tables == (0,)
        connection.execute("DROP ROLE sans_droit")


@pytest.mark.usefixtures("keys")
def test_a_copy_that_cannot_be_finished_leaves_nothing_that_looks_like_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    with running(tmp_path) as served:
        Source("a", Ledger(), 1).stream(served.address, 2)
    assert main(["store", "check", "--store", url]) == 0  # the log of the server that ended is written back
    assert main(["store", "backup", str(tmp_path / "absent" / "copie.db"), "--store", url]) == 1
    assert "le répertoire de copie.db n'existe pas" in capsys.readouterr().err
    # A file may grow to 128 KiB: enough for the line of the audit trail in the log, and not for the copy.
    limited = f'ulimit -f 128; exec "{sys.executable}" -m solidarite_client "$@"'
    command = ["bash", "-c", limited, "solidarite", "store", "backup", str(tmp_path / "copie.db"), "--store", url]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert main(["store", "restore", str(tmp_path / "a.db"), "--store", f"sqlite:///{tmp_path}/absent/b.db"]) == 1
    assert "Le répertoire de b.db n'existe pas" in capsys.readouterr().err
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "La copie copie.db n'est pas faite : le fichier ne peut pas être écrit" in ended.stderr
    assert not list(tmp_path.glob("copie*"))


@pytest.mark.usefixtures("keys")
def test_a_copy_made_while_serving_is_put_back_and_what_it_replaced_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    url, copy, ledger = f"sqlite:///{tmp_path / 'a.db'}", tmp_path / "copie.db", Ledger()
    source = Source("a", ledger, 1)
    with running(tmp_path) as served:
        source.stream(served.address, 3)
        assert main(["store", "backup", str(copy), "--store", url]) == 0
        kept = held_by(served.address)
        source.stream(served.address, 3)
        assert main(["store", "restore", str(copy), "--store", url]) == 1
        assert "existe déjà" in capsys.readouterr().err
        assert main(["store", "restore", str(copy), "--store", url, "--replace"]) == 1
        assert "en service" in capsys.readouterr().err
        assert len(held_by(served.address)) == 120
    assert main(["store", "restore", str(copy), "--store", url, "--replace"]) == 0
    assert "(celui d'avant : a.db.avant)" in capsys.readouterr().out
    first = (tmp_path / "a.db.avant").read_bytes()
    assert main(["store", "restore", str(copy), "--store", url, "--replace"]) == 0
    assert "(celui d'avant : a.db.avant2)" in capsys.readouterr().out
    assert (tmp_path / "a.db.avant").read_bytes() == first
    assert {file.stat().st_mode & 0o777 for file in (copy, tmp_path / "a.db")} == {0o600}
    with running(tmp_path) as served:
        assert held_by(served.address) == kept
        assert len(kept) == 60


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("damage", ["nothing", "text", "cut", "page"])
def test_a_copy_that_is_not_whole_replaces_nothing(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    url, copy = f"sqlite:///{tmp_path / 'a.db'}", tmp_path / "copie.db"
    with running(tmp_path) as served:
        Source("a", Ledger(), 1, batch_records=200).stream(served.address, 5)
        assert main(["store", "backup", str(copy), "--store", url]) == 0
    if damage == "nothing":
        copy.write_bytes(b"")
    elif damage == "text":
        copy.write_text("rien")
    elif damage == "cut":
        copy.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    else:
        data = bytearray(copy.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 4_096] = b"\xff" * 4_096
        copy.write_bytes(data)
    assert main(["store", "restore", str(copy), "--store", url, "--replace"]) == 1
    assert capsys.readouterr().err.startswith("Erreur : copie.db")
    assert main(["store", "check", "--store", url]) == 0
    assert not list(tmp_path.glob("*.arrivee*"))
    assert not (tmp_path / "a.db.avant").exists()
