"""Settings whose effect no other test shows: who may come without TLS or identity, the calendar, the key."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from solidarite.v1 import declaration_pb2
from solidarite_client import CallError
from solidarite_server.bootstrap import SettingsError, start_server
from solidarite_server.settings import Settings

from tests.integration.server.served import served
from tests.integration.server.test_life import FOYER, M, filled


def started(folder: Path, **settings: object) -> str:
    """The refusal to start, or nothing."""

    async def scenario() -> str:
        chosen = Settings(listen="0.0.0.0:0", store=f"sqlite:///{folder / 'a.db'}", **settings)  # type: ignore[arg-type]
        try:
            running = await start_server(chosen)
        except SettingsError as error:
            return str(error)
        await running.stop(0)
        return ""

    return asyncio.run(scenario())


# effect: allow_plaintext, allow_anonymous
def test_beyond_this_machine_plain_text_and_anonymous_callers_are_two_wishes_to_be_said(tmp_path: Path):
    assert "--allow-plaintext" in started(tmp_path, allow_anonymous=True)
    assert started(tmp_path, allow_plaintext=True)
    assert started(tmp_path, allow_plaintext=True, allow_anonymous=True) == ""


# effect: declaration_calendar
@pytest.mark.parametrize(
    ("calendar", "day", "filed"),
    [
        ("MOIS_ENTIER", "2026-11-30", True),
        ("JOUR_25", "2026-11-25", True),
        ("JOUR_25", "2026-10-25", False),
        ("MOIS_ENTIER", "2026-10-15", False),
        ("LIBRE", "2026-10-15", True),
    ],
)
def test_the_calendar_says_when_a_declaration_is_filed(calendar: str, day: str, filed: bool, tmp_path: Path):
    with served(tmp_path, day, declaration_calendar=calendar) as (client, _):
        filled(client, 30_000, 30_000, 30_000)
        seen = client.prefill_declaration(FOYER, M)
        if filed:
            answer = client.submit_declaration(FOYER, M, etag=seen.etag)
            assert answer.state == declaration_pb2.DECLARATION_STATE_VALIDEE
        else:
            with pytest.raises(CallError) as error:
                client.submit_declaration(FOYER, M, etag=seen.etag)
            assert error.value.reason == "WINDOW_CLOSED"


# effect: pseudonym_key_file
def test_the_key_is_the_file_of_the_settings_or_made_once_beside_the_store(tmp_path: Path):
    own = tmp_path / "secrets" / "cle"
    own.parent.mkdir()
    own.write_bytes(bytes(range(32)))
    own.chmod(0o600)
    with served(tmp_path, "2026-11-03", pseudonym_key_file=own):
        assert not (tmp_path / "vie.db.key").exists()
    (tmp_path / "autre").mkdir()
    with served(tmp_path / "autre", "2026-11-03"):
        made = tmp_path / "autre" / "vie.db.key"
        assert made.stat().st_mode & 0o777 == 0o600
