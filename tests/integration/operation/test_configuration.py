"""One settings file, the environment and options: who wins, what is refused and how it is said, what is shown."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from solidarite_client.cli import main
from solidarite_client.cli_app import build_app
from solidarite_server.configuration import (
    OTHER_VARIABLES,
    ConfigurationError,
    documentation_rows,
    environment_of,
    explain,
    load_settings,
    mask,
)
from solidarite_server.rpc.server import server_options
from solidarite_server.settings import CONFIG_VARIABLE, PREFIX, Settings

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, "")  # recorded, so that what load_settings writes there is undone


def written(folder: Path, text: str) -> Path:
    file = folder / "reglages.toml"
    file.write_text(text, "utf-8")
    return file


def test_an_option_wins_over_the_environment_the_environment_over_the_file_the_file_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = written(tmp_path, 'listen = "127.0.0.1:1"\nmessage_mib = 2\nidle_seconds = 3\n')
    monkeypatch.setenv("SOLIDARITE_LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("SOLIDARITE_MESSAGE_MIB", "4")
    flags = {"listen": "127.0.0.1:3", "store": None}
    settings = load_settings(flags, file)
    assert (settings.listen, settings.message_mib, settings.idle_seconds, settings.workers) == ("127.0.0.1:3", 4, 3, 1)
    origins = {row.name: row.origin for row in explain(settings, flags)}
    assert (origins["listen"], origins["message_mib"], origins["idle_seconds"], origins["workers"]) == (
        "option", "environnement", "fichier", "défaut",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mesage_mib = 2", "Réglage inconnu dans le fichier reglages.toml : mesage_mib (peut-être message_mib ?)."),
        ("zzz = 2", "Réglage inconnu dans le fichier reglages.toml : zzz (la liste : solidarite config --explain)."),
        ("message_mib = 65", "Réglage message_mib refusé : attendu un nombre entier de 1 à 64."),
        ('message_mib = "beaucoup"', "Réglage message_mib refusé : attendu un nombre entier de 1 à 64."),
        ("waiting_calls = 5000000", "Réglage waiting_calls refusé : attendu un nombre entier de 1 à 1000."),
        ("waiting_batches = 0", "Réglage waiting_batches refusé : attendu un nombre entier, 1 ou plus."),
        ("idle_seconds = 3000000", "Réglage idle_seconds refusé : attendu un nombre entier de 1 à 86400."),
        ("connections = 99999999999999999999", "Réglage connections refusé : attendu un nombre entier de 1 à 1000000."),
        ("waiting_seconds = 11", "Réglage waiting_seconds refusé : attendu un nombre, plus grand que 0, 10 au plus."),
        ("stream_seconds = 0", "Réglage stream_seconds refusé : attendu un nombre, plus grand que 0, 86400 au plus."),
        ("unary_seconds = inf", "Réglage unary_seconds refusé : attendu un nombre, plus grand que 0, 86400 au plus."),
        ("drain_seconds = nan", "Réglage drain_seconds refusé : attendu un nombre de 0 à 600."),
        (
            'otlp_endpoint = "collecteur:4318"',
            "l'adresse du collecteur s'écrit http://hôte:4318/v1/traces, ou en https.",
        ),
        ("reflection = 7", "Réglage reflection refusé : attendu true ou false."),
        ('declaration_calendar = "X"', "refusé : attendu une valeur parmi MOIS_ENTIER, JOUR_25, LIBRE."),
        ('readings = "plancher_mensuel=true"', "refusé : option inconnue (peut-être plancher_mensuel_rsa ?) ; attendu"),
        ('readings = "exceptions_ppa=TOUTES"', "exceptions_ppa accepte SEPARATION_ET_ISOLEMENT ou AUCUNE."),
        ('readings = "calendrier=LIBRE"', "le calendrier se choisit par declaration_calendar."),
        ("listen = 50051", "Réglage listen refusé : attendu un texte."),
        ("= 1", "Le fichier de réglages reglages.toml n'est pas du TOML valide (ligne 1)."),
    ],
)
def test_what_a_file_gets_wrong_is_said_with_what_is_accepted(text: str, expected: str, tmp_path: Path):
    with pytest.raises(ConfigurationError) as error:
        load_settings(config=written(tmp_path, text))
    assert expected in str(error.value)


def test_no_number_that_is_accepted_is_too_large_for_grpc():
    bounds = {
        name: next((bound.le for bound in field.metadata if hasattr(bound, "le")), 1 << 62)
        for name, field in Settings.model_fields.items()
        if field.annotation is int
    }
    assert [name for name, value in server_options(load_settings(bounds)) if value >= 1 << 31] == []


def test_a_file_that_can_be_read_only_once_is_refused_rather_than_forgotten(tmp_path: Path):
    os.mkfifo(tmp_path / "tube")  # what a shell makes of `--config <(…)`
    for place in (tmp_path / "tube", tmp_path):
        with pytest.raises(ConfigurationError, match="un fichier ordinaire est attendu, ni répertoire ni tube"):
            load_settings(config=place)


def test_a_variable_in_small_letters_is_read_told_and_refused_like_the_others(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("solidarite_message_mib", "4")
    settings = load_settings()
    assert settings.message_mib == 4
    assert {row.origin for row in explain(settings) if row.name == "message_mib"} == {"environnement"}
    monkeypatch.setenv("solidarite_mesage_mib", "4")
    with pytest.raises(ConfigurationError, match=r"variable SOLIDARITE_MESAGE_MIB .* \(peut-être message_mib \?\)"):
        load_settings()


def test_a_file_named_by_nothing_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files = [name for name in Settings.model_fields if name.endswith("_file")]
    monkeypatch.setenv("SOLIDARITE_TOKEN_KEYS_FILE", "")  # as a deployment file without it writes it
    settings = load_settings(config=written(tmp_path, "\n".join(f'{name} = ""' for name in files)))
    assert [getattr(settings, name) for name in files] == [None] * len(files)
    assert not settings.asks_for_identities


def test_the_environment_and_a_missing_file_are_refused_as_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigurationError, match=r"absent\.toml ne peut pas être lu"):
        load_settings(config=tmp_path / "absent.toml")
    monkeypatch.setenv(CONFIG_VARIABLE, "")
    monkeypatch.setenv("SOLIDARITE_DRAIN_SECOND", "2")
    with pytest.raises(ConfigurationError, match=r"variable SOLIDARITE_DRAIN_SECOND .* \(peut-être drain_seconds \?\)"):
        load_settings()
    monkeypatch.delenv("SOLIDARITE_DRAIN_SECOND")
    monkeypatch.setenv("SOLIDARITE_WORKERS", "secret-1234")
    with pytest.raises(ConfigurationError) as error:
        load_settings()
    assert str(error.value) == "Réglage SOLIDARITE_WORKERS refusé : attendu un nombre entier de 1 à 64."


def test_secrets_are_masked_wherever_settings_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    file = written(tmp_path, 'store = "postgresql://svc:tres-secret@base.invalid:5432/s?sslmode=require"')
    assert main(["config", "--explain", "--json", "--config", str(file)]) == 0
    shown = capsys.readouterr().out
    rows = {row["name"]: row for row in json.loads(shown)}
    assert rows["store"]["value"] == "postgresql://svc:***@base.invalid:5432/s?sslmode=require"
    assert rows["store"]["origin"] == "fichier"
    assert set(rows) == set(Settings.model_fields)
    assert main(["config", "--explain", "--config", str(file)]) == 0
    shown += capsys.readouterr().out + repr(load_settings()) + str(load_settings())
    assert "tres-secret" not in shown


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://svc:secret@b/s", "postgresql://svc:***@b/s"),
        ("postgresql://svc:sec@ret@b/s", "postgresql://svc:***@b/s"),
        ("postgresql://svc:sec:ret@b/s", "postgresql://svc:***@b/s"),
        ("postgresql://:secret@b/s", "postgresql://:***@b/s"),
        ("postgresql://b/s?user=a&password=secret&sslmode=x", "postgresql://b/s?user=a&password=***&sslmode=x"),
        ("postgresql://b/s?sslpassword=secret", "postgresql://b/s?sslpassword=***"),
        ("postgresql://a:sec/re#t?@b/s", "postgresql://a:***@b/s"),
        ("host=b password='le secret' user=a", "host=b password=*** user=a"),
        ("http://b:4318/v1/traces?api_key=secret&x=1", "http://b:4318/v1/traces?api_key=***&x=1"),
        ("postgresql://svc@b/s", "postgresql://svc@b/s"),
        ("sqlite:////var/lib/a:b/s.db", "sqlite:////var/lib/a:b/s.db"),
    ],
)
def test_a_password_is_masked_wherever_the_address_holds_it(address: str, shown: str):
    assert mask(address) == shown


def test_a_key_that_cannot_be_made_is_told_in_french(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["serve", "--store", f"sqlite:///{tmp_path}/absent/a.db"]) == 1
    assert capsys.readouterr().err.startswith("Erreur : La clé des pseudonymes a.db.key ne peut pas être écrite")


@pytest.mark.parametrize("name", ["listen", "listen_portals", "metrics_listen", "gateway_listen"])
@pytest.mark.parametrize("address", ["127.0.0.1:99999", "127.0.0.1:abc", "127.0.0.1", ":", "h:-1", "127.0.0.1:"])
def test_an_address_without_a_port_that_exists_is_refused(name: str, address: str, tmp_path: Path):
    with pytest.raises(ConfigurationError, match=f"Réglage {name} refusé : une adresse s'écrit hôte:port"):
        load_settings(config=written(tmp_path, f'{name} = "{address}"'))


def test_config_without_explain_shows_only_what_was_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["config", "--json", "--config", str(written(tmp_path, "workers = 3"))]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["workers"]
    assert main(["config", "--config", str(written(tmp_path, "worker = 3"))]) == 2
    assert "peut-être workers" in capsys.readouterr().err


def test_a_wrong_option_is_refused_like_a_wrong_setting(capsys: pytest.CaptureFixture[str]):
    assert main(["serve", "--workers", "mille"]) == 2
    assert "--workers refusé : attendu un nombre entier de 1 à 64." in capsys.readouterr().err


def test_a_process_started_with_the_environment_of_settings_has_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = load_settings(
        {"listen": "127.0.0.1:7", "drain_seconds": 2.5, "workers": 1},
        written(tmp_path, f'workers = 4\nreflection = false\npseudonym_key_file = "{tmp_path / "k"}"'),
    )
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def _variables(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ()
    for child in getattr(command, "commands", {}).values():
        yield from _variables(child)


def test_every_variable_of_the_command_is_a_setting_or_known_not_to_be():
    names = {name.removeprefix(PREFIX) for name in _variables(typer.main.get_command(build_app()[0]))}
    assert names <= {name.upper() for name in Settings.model_fields} | OTHER_VARIABLES


# What holds of each setting


def test_the_settings_of_the_documentation_are_those_of_the_program():
    page = (ROOT / "docs" / "exploitation.md").read_text("utf-8")
    table = page[page.index("| réglage |") : page.index("## TLS")].splitlines()
    assert [row for row in table if row.startswith("| `")] == documentation_rows()


NOT_SHOWN = {
    "audit_before_answer": "a power cut between a read and its line is not made in a test",
    "campaign_processes": "the number of processes changes no result",
}


def test_every_setting_has_a_test_of_its_effect():
    """A test says on the line above it, after `effect:`, which settings it proves."""
    proven = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for names in re.findall(r"^ *# effect: (.*)$", file.read_text("utf-8"), re.MULTILINE)
        for name in names.split(", ")
    }
    assert set(Settings.model_fields) - proven - set(NOT_SHOWN) == set(), "aucun essai ne montre leur effet"
    assert (proven | set(NOT_SHOWN)) <= set(Settings.model_fields), "ces réglages n'existent pas"
