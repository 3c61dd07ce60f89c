"""The search for persons in clear finds them wherever they are, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import leaks


@pytest.mark.parametrize(
    "data",
    [
        b"1850799999142",
        b"\x00185072A999142\x00",
        b"'1850799999142'",
        b"nir=185079999914269;",
        b"x\xff1850799999142",
        b"BENALI",
    ],
    ids=str,
)
def test_a_person_in_clear_is_found(data: bytes):
    assert leaks.found_in(b"--" + data + b"--")


@pytest.mark.parametrize(
    "data",
    [
        b"81234567800013",
        b"1764100000000000",
        b"185079999914",
        b"a1850799999142",
        b"3850799999142",
        b"1851399999142",
        b"185079999914258",
    ],
    ids=str,
)
def test_a_siret_an_instant_and_a_piece_of_a_longer_number_are_not(data: bytes):
    assert leaks.found_in(b"--" + data + b"--") == []


def test_files_are_searched_whole_but_for_those_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(leaks, "_PIECE", 100)
    assert leaks.leaks(tmp_path) == ["the witness was not found: nothing was searched"]
    leaks.leave_witness(tmp_path)
    (tmp_path / "a").mkdir()
    # Between two pieces.
    (tmp_path / "a" / "journal.log").write_bytes(b"." * 95 + b"1850799999142" + b"." * 50)
    (tmp_path / "a" / "paie.dsn").write_bytes(b"'1850799999142'")
    assert [line.partition(" ")[0] for line in leaks.leaks(tmp_path)] == ["/a/journal.log"]
    (tmp_path / "a" / "journal.log").unlink()
    assert leaks.leaks(tmp_path) == []
    # The witnesses of these folders are not for the search of the whole run.
    (tmp_path / leaks.WITNESS).unlink()
