"""The files of deployment, held to their rules where no engine can run them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from solidarite_server.configuration import load_settings
from solidarite_server.listening import refuse_contradictory
from solidarite_server.settings import CONFIG_VARIABLE, Settings

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "deploiement"
VARIABLES = {f"SOLIDARITE_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.passerelle"])
def test_a_dockerfile_passes_its_linter_and_runs_as_nobody_in_particular(name: str):
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, "--no-color", FOLDER / name], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (FOLDER / name).read_text("utf-8")
    assert re.search(r"^USER \d+$", text, re.MULTILINE)
    assert ":latest" not in text
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    assert all((ROOT / source).exists() for line in copied for source in line.split())


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))["services"]
    return found


def test_compose_names_real_settings_and_keeps_secrets_out_of_the_environment(services: dict[str, Any]):
    assert set(services) == {"postgres", "serveur", "passerelle"}
    server = services["serveur"]
    assert set(server["environment"]) <= VARIABLES
    given = {name.removeprefix("SOLIDARITE_").lower(): value for name, value in server["environment"].items()}
    refuse_contradictory(load_settings(given))
    assert not any("password" in str(value).lower() for value in server["environment"].values())
    for service in services.values():
        assert ":latest" not in service.get("image", ":16")
        assert service["restart"] == "unless-stopped"
    for name in ("serveur", "passerelle"):
        assert services[name]["cap_drop"] == ["ALL"]
        assert (FOLDER / services[name]["build"]["context"] / services[name]["build"]["dockerfile"]).resolve().exists()
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_time_to_stop_is_longer_than_the_time_to_drain(services: dict[str, Any]):
    drain = Settings.model_fields["drain_seconds"].default
    assert int(services["serveur"]["stop_grace_period"].rstrip("s")) > drain
    unit = (FOLDER / "solidarite.service").read_text("utf-8")
    assert int(re.search(r"TimeoutStopSec=(\d+)", unit)[1]) > drain  # type: ignore[index]


def test_the_unit_of_systemd_is_accepted(tmp_path: Path):
    text = (FOLDER / "solidarite.service").read_text("utf-8")
    assert {"NoNewPrivileges=yes", "ProtectSystem=strict", "UMask=0077"} <= set(text.splitlines())
    analyzer = shutil.which("systemd-analyze")
    if analyzer is None:
        sections = re.findall(r"^\[(\w+)\]$", text, re.MULTILINE)
        assert sections == ["Unit", "Service", "Install"]
        return
    unit = tmp_path / "solidarite.service"
    unit.write_text(re.sub(r"/opt/solidarite/bin/solidarite", "/bin/true", text), "utf-8")
    done = subprocess.run([analyzer, "verify", unit], capture_output=True, text=True, timeout=60)
    assert "solidarite.service" not in done.stderr, done.stderr


def test_the_settings_file_of_the_example_is_accepted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(CONFIG_VARIABLE, "")
    settings = load_settings(config=FOLDER / "reglages.toml")
    refuse_contradictory(settings)
    assert settings.tls_client_ca_file is not None
    assert settings.asks_for_identities
    assert not settings.reflection


def test_publiccode_has_what_the_standard_asks_for():
    found = yaml.safe_load((FOLDER / "publiccode.yml").read_text("utf-8"))
    asked = {
        "publiccodeYmlVersion", "name", "url", "platforms", "categories", "developmentStatus", "softwareType",
        "description", "legal", "maintenance", "localisation",
    }  # fmt: skip
    assert asked <= set(found)
    french = found["description"]["fr"]
    assert len(french["shortDescription"]) <= 150
    assert 150 <= len(french["longDescription"]) <= 10_000
    assert french["features"]
    assert found["legal"]["license"] == "MIT"
    assert found["softwareVersion"] == re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]  # type: ignore[index]
