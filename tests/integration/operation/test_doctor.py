"""`solidarite doctor` names what is wrong and what to do; `store restore` puts back a copy, and only a good one."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from solidarite_client.cli import main
from solidarite_server.settings import CONFIG_VARIABLE

from tests.integration.operation.test_tls import Files
from tests.robustness.ledger import Ledger, Source, held_by
from tests.robustness.served import running


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
    assert (tmp_path / "a.db.avant").exists()
    with running(tmp_path) as served:
        assert held_by(served.address) == kept
        assert len(kept) == 60


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("damage", ["text", "cut", "page"])
def test_a_copy_that_is_not_whole_replaces_nothing(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    url, copy = f"sqlite:///{tmp_path / 'a.db'}", tmp_path / "copie.db"
    with running(tmp_path) as served:
        Source("a", Ledger(), 1, batch_records=200).stream(served.address, 5)
        assert main(["store", "backup", str(copy), "--store", url]) == 0
    if damage == "text":
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
