"""A spool keeps every batch it took, through crashes at any byte, and says so when its bytes were changed."""

import os
import shutil
import stat
from pathlib import Path

import pytest
from solidarite.v1.resource_record_pb2 import (
    DocumentSeal,
    ResourceRecordColumns,
    StreamResourceRecordsRequest,
    StreamResourceRecordsResponse,
)
from solidarite_client import Spool
from solidarite_client.errors import SpoolBusy, SpoolDamaged, SpoolError
from solidarite_client.spool import file_key, unfinished


def batch(count: int, seals: int = 0) -> StreamResourceRecordsRequest:
    return StreamResourceRecordsRequest(columns=ResourceRecordColumns(count=count), seals=[DocumentSeal()] * seals)


def acknowledgement(sequence: int, accepted: int) -> StreamResourceRecordsResponse:
    return StreamResourceRecordsResponse(
        batch_sequence=sequence, accepted_count=accepted, freshness_token=f"t{sequence}"
    )


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A closed spool of three batches, the first acknowledged."""
    with Spool.create(tmp_path / "spool", source_id="paie", target="here:1", label="a.dsn") as spool:
        for count in (10, 20, 30):
            spool.append(batch(count, seals=1))
        spool.acknowledge(acknowledgement(1, 10))
    return tmp_path / "spool"


def test_what_was_taken_and_acknowledged_is_found_again(filled):
    with Spool.open(filled) as spool:
        assert (spool.source_id, spool.label) == ("paie", "a.dsn")
        assert (spool.count, spool.acknowledged, spool.records, spool.complete) == (3, 1, 60, False)
        second = StreamResourceRecordsRequest.FromString(spool.read(2))
        assert (second.batch_sequence, second.source_id, second.columns.count) == (2, "paie", 20)
        summary = spool.summary()
        assert (summary.records, summary.records_taken, summary.documents, summary.accepted) == (10, 60, 1, 10)
        assert (summary.freshness_token, summary.resumed) == ("t1", True)


def test_the_upload_keeps_its_identity(filled):
    with Spool.open(filled) as first:
        upload_id = first.upload_id
    with Spool.open(filled) as again:
        assert again.upload_id == upload_id
        assert StreamResourceRecordsRequest.FromString(again.read(1)).upload_id == upload_id


def test_a_spool_opened_again_goes_on_where_it_was(filled):
    with Spool.open(filled) as spool:
        spool.append(batch(40))
        spool.acknowledge(acknowledgement(2, 20))
        spool.mark_complete()
    with Spool.open(filled) as spool:
        assert (spool.count, spool.acknowledged, spool.records, spool.complete) == (4, 2, 100, True)


def test_a_crash_at_any_byte_of_the_last_write_loses_that_batch_only(filled, tmp_path):
    whole = (filled / "batches").read_bytes()
    with Spool.open(filled) as spool:
        start = spool._offsets[2][0] - 20
    for length in range(start, len(whole)):
        copy = tmp_path / f"cut{length}"
        shutil.copytree(filled, copy)
        (copy / "batches").write_bytes(whole[:length])
        with Spool.open(copy) as spool:
            assert (spool.count, spool.acknowledged) == (2, 1), length
            spool.append(batch(5))
        with Spool.open(copy) as spool:
            assert StreamResourceRecordsRequest.FromString(spool.read(3)).columns.count == 5


def test_zeros_left_by_a_crash_are_not_taken_for_batches(filled):
    with (filled / "batches").open("ab") as file:
        file.write(bytes(100))
    with Spool.open(filled) as spool:
        assert spool.count == 3


def test_a_changed_byte_is_never_sent(filled, tmp_path):
    """At each byte: the damage is refused, or it is in the last batch, left out as a half-made write."""
    whole = (filled / "batches").read_bytes()
    with Spool.open(filled) as spool:
        original = [spool.read(sequence) for sequence in (1, 2, 3)]
    refused = 0
    for place in range(len(whole)):
        copy = tmp_path / f"flip{place}"
        shutil.copytree(filled, copy)
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        (copy / "batches").write_bytes(bytes(damaged))
        try:
            with Spool.open(copy) as spool:
                read = [spool.read(sequence + 1) for sequence in range(spool.count)]
        except SpoolError:
            refused += 1
        else:
            assert read == original[:2], place
    assert refused > len(whole) // 2


def test_a_damaged_header_is_named(filled):
    whole = bytearray((filled / "batches").read_bytes())
    whole[20] ^= 0xFF
    (filled / "batches").write_bytes(bytes(whole))
    with pytest.raises(SpoolDamaged, match="supprimez ce répertoire"):
        Spool.open(filled)


def test_a_lost_acknowledgement_is_asked_for_again(filled):
    with (filled / "acks").open("r+b") as file:
        file.truncate(os.fstat(file.fileno()).st_size - 1)
    with Spool.open(filled) as spool:
        assert spool.acknowledged == 0
        spool.acknowledge(acknowledgement(1, 10))
    with Spool.open(filled) as spool:
        assert spool.acknowledged == 1


def test_two_users_at_once_are_refused(filled):
    with Spool.open(filled), pytest.raises(SpoolBusy):
        Spool.open(filled)
    with Spool.open(filled) as spool:
        assert spool.count == 3


def test_only_the_owner_may_read_what_holds_nirs(filled):
    assert stat.S_IMODE(filled.stat().st_mode) & 0o077 == 0
    for name in ("batches", "acks", "lock"):
        assert stat.S_IMODE((filled / name).stat().st_mode) & 0o077 == 0


def test_a_full_disk_keeps_what_was_taken(filled):
    class Full:
        """A file whose writes fail half-way, as a full disk makes them."""

        def __init__(self, file) -> None:
            self._file = file

        def write(self, data: bytes) -> int:
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            raise OSError(28, "No space left on device")

        def __getattr__(self, name: str):
            return getattr(self._file, name)

    with Spool.open(filled) as spool:
        spool._batches, real = Full(spool._batches), spool._batches
        with pytest.raises(SpoolError, match="ne peut pas être écrit"):
            spool.append(batch(40))
        assert (spool.count, spool.records) == (3, 60)
        spool._batches = real
        spool.append(batch(50))
    with Spool.open(filled) as spool:
        assert (spool.count, spool.records) == (4, 110)


def test_a_finished_spool_leaves_nothing_behind(filled):
    with Spool.open(filled) as spool:
        spool.discard()
    assert not filled.exists()


def test_an_empty_directory_is_no_spool(tmp_path):
    with pytest.raises(SpoolError, match="aucun envoi"):
        Spool.open(tmp_path)


def test_unfinished_uploads_are_those_of_the_same_server_and_source(filled):
    parent = filled.parent
    assert unfinished(parent, target="here:1") == [filled]
    assert unfinished(parent, target="here:1", source_id="paie") == [filled]
    assert unfinished(parent, target="here:1", source_id="autre") == []
    assert unfinished(parent, target="there:1") == []
    assert unfinished(parent / "absent", target="here:1") == []


def test_a_file_is_known_by_its_content_its_source_and_its_server(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"1")
    (tmp_path / "c").write_bytes(b"2")
    key = file_key(tmp_path / "a", target="t", source_id="s")
    assert file_key(tmp_path / "b", target="t", source_id="s") == key
    others = {
        file_key(tmp_path / "c", target="t", source_id="s"),
        file_key(tmp_path / "a", target="u", source_id="s"),
        file_key(tmp_path / "a", target="t", source_id="r"),
    }
    assert len(others | {key}) == 4
