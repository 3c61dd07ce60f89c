"""Uploads reach the service exactly once, whatever happens to the connection. Both clients pass the same tests."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import date
from pathlib import Path

import pytest
from google.rpc import code_pb2
from solidarite_client import (
    AsyncSolidariteClient,
    ClientSettings,
    DocumentRef,
    DocumentSeal,
    FluxSource,
    IngestSummary,
    NatureRessource,
    ResourceRecord,
    SolidariteClient,
    Spool,
)
from solidarite_client._journal import MemoryJournal
from solidarite_client._packing import batches
from solidarite_client._retry import Backoff
from solidarite_client._sync import Upload
from solidarite_client.errors import (
    ClientClosed,
    InvalidRequest,
    Overloaded,
    PlaintextRefused,
    ServerFailure,
    ServerUnreachable,
    SpoolBusy,
    SpoolError,
    StoreUnavailable,
)

from tests.unit.client.fake_service import FakeService, Faults, refusal, rich_status, serving

BATCHES = 6
LIMIT = 10
FAST = ClientSettings(
    batch_limit_records=LIMIT,
    batches_in_flight=3,
    first_delay_seconds=0.01,
    delay_limit_seconds=0.05,
    attempts=3,
    outage_seconds=0,
)


def record(number: int, **changes) -> ResourceRecord:
    content = {
        "record_id": number.to_bytes(16, "big"),
        "nir": f"28405{number:08d}",
        "flux_source": FluxSource.PASRAU,
        "declarant": "FRANCETRAVAIL",
        "nature": NatureRessource.CHOMAGE,
        "date_versement": date(2026, 8, 3),
        "montant_net_social_cents": 100 + number,
    }
    return ResourceRecord(**content | changes)


RECORDS = [record(number) for number in range(BATCHES * LIMIT)]
TOTAL = sum(item.montant_net_social_cents for item in RECORDS)


@pytest.fixture
def service() -> Iterator[FakeService]:
    service = FakeService()
    with serving(service) as address:
        service.address = address
        yield service


@pytest.fixture(params=["sync", "asyncio"])
def run(request):
    """Call a method of a fresh client of either kind; settings may be changed."""

    def sync(address, method, *arguments, settings=FAST, **options):
        with SolidariteClient(address, settings) as client:
            return getattr(client, method)(*arguments, **options)

    async def asynchronous(address, method, *arguments, settings=FAST, **options):
        async with AsyncSolidariteClient(address, settings) as client:
            return await getattr(client, method)(*arguments, **options)

    if request.param == "sync":
        return sync
    return lambda *arguments, **options: asyncio.run(asynchronous(*arguments, **options))


def ingest(run, service: FakeService, items=RECORDS, **options) -> IngestSummary:
    return run(service.address, "ingest", items, source_id="paie", **options)


def assert_everything_once(service: FakeService, summary: IngestSummary) -> None:
    assert len(service.records) == len(RECORDS)
    assert service.total == TOTAL
    assert summary.complete
    assert (summary.batches, summary.records, summary.refused) == (BATCHES, len(RECORDS), 0)
    assert summary.accepted + summary.unchanged == len(RECORDS)
    assert summary.freshness_token == f"token-{BATCHES}"


@pytest.mark.parametrize("form", ["columns", "rows"])
def test_records_arrive_in_batches_in_order(run, service, form):
    summary = ingest(run, service, settings=FAST.model_copy(update={"form": form}))
    assert_everything_once(service, summary)
    assert summary.accepted == len(RECORDS)
    assert service.received == list(range(1, BATCHES + 1))


def test_nothing_to_send_sends_nothing(run, service):
    assert ingest(run, service, []).batches == 0
    assert service.received == []


@pytest.mark.parametrize("batch", range(1, BATCHES + 1))
def test_a_cut_before_the_commit_of_any_batch_loses_and_doubles_nothing(run, service, batch):
    service.faults = Faults(cut_before_commit_of=[batch])
    summary = ingest(run, service)
    assert_everything_once(service, summary)
    assert summary.accepted == len(RECORDS)


@pytest.mark.parametrize("batch", range(1, BATCHES + 1))
def test_a_cut_between_commit_and_acknowledgement_of_any_batch_loses_and_doubles_nothing(run, service, batch):
    service.faults = Faults(cut_after_commit_of=[batch])
    summary = ingest(run, service)
    assert_everything_once(service, summary)
    assert summary.unchanged == LIMIT, "the batch whose acknowledgement was lost was sent again"


@pytest.mark.parametrize("fault", ["overload_at", "end_at"])
def test_an_overloaded_or_stopping_service_is_tried_again(run, service, fault):
    service.faults = Faults(**{fault: [2, 5]})
    assert_everything_once(service, ingest(run, service))


def test_a_service_gone_silent_is_left_for_another_connection(run, service):
    service.faults = Faults(silent_at=[3])
    impatient = FAST.model_copy(update={"acknowledgement_timeout_seconds": 0.3})
    assert_everything_once(service, ingest(run, service, settings=impatient))


def test_as_many_cuts_as_batches_are_survived_when_each_connection_makes_progress(run, service):
    service.faults = Faults(cut_after_commit_of=list(range(1, BATCHES + 1)))
    assert_everything_once(service, ingest(run, service))


def test_a_server_that_comes_back_later_gets_the_rest(run, tmp_path):
    """Stopped after some batches, started again on the same port: the upload goes on by itself."""
    service = FakeService()
    back = threading.Event()

    def restart(port: int) -> None:
        with serving(service, port):
            back.wait(30)

    with serving(service) as address:
        port = int(address.rpartition(":")[2])
        restarting = threading.Timer(0.5, restart, [port])

        def items() -> Iterator[ResourceRecord]:
            for number, item in enumerate(RECORDS):
                if number == 4 * LIMIT:
                    service.stop()
                    restarting.start()
                yield item

        patient = FAST.model_copy(update={"outage_seconds": 30})
        summary = run(address, "ingest", items(), source_id="paie", settings=patient)
    back.set()
    restarting.join()
    assert_everything_once(service, summary)


def test_cuts_without_progress_end_with_the_error(run, service):
    service.faults = Faults(cut_before_commit_of=[2] * FAST.attempts)
    with pytest.raises(StoreUnavailable):
        ingest(run, service)


def test_an_error_that_no_attempt_will_cure_comes_out_at_once(run, service):
    service._commit = lambda request: (_ for _ in ()).throw(ValueError)
    with pytest.raises(ServerFailure):
        ingest(run, service)
    assert service.received[:1] == [1]


def test_no_server_at_all_is_said_plainly(run):
    with pytest.raises(ServerUnreachable, match="le service ne répond pas"):
        run("127.0.0.1:1", "ingest", RECORDS, source_id="paie")


def test_the_end_of_the_stream_after_the_last_acknowledgement_is_no_failure(service):
    """However late the caller's thread looks: seen as a cut when the machine was busy."""
    with SolidariteClient(service.address, FAST) as client:
        upload = Upload(client, MemoryJournal("paie"), None)
        for request in batches(RECORDS, limit=LIMIT, form="columns"):
            upload.push(request)
        with upload.changed:
            upload.window.fill()
            upload.changed.notify_all()
        upload._link._thread.join()
        assert_everything_once(service, upload.finish())
        upload.close()


def test_unacknowledged_batches_are_bounded(run, service):
    most_ahead = 0

    def items() -> Iterator[ResourceRecord]:
        nonlocal most_ahead
        for pulled, item in enumerate(RECORDS * 5, start=1):
            most_ahead = max(most_ahead, pulled - service.committed_batches * LIMIT)
            yield item

    service.hold.clear()
    threading.Timer(0.3, service.hold.set).start()
    ingest(run, service, items())
    assert most_ahead <= (FAST.batches_in_flight + 1) * LIMIT
    # The control: the service did hold the client back, which had more to give.
    assert most_ahead > LIMIT


def test_refusals_name_the_record_of_the_upload(run, service):
    service.faults.refuse = lambda request: [refusal(4)] if request.batch_sequence == 3 else []
    summary = ingest(run, service)
    assert not summary.complete
    assert (summary.accepted, summary.refused) == (len(RECORDS) - 1, 1)
    assert summary.refused_by_reason == {"RECORD_CONFLICT": 1}
    (found,) = summary.refusals
    assert (found.batch_sequence, found.index, found.record_number) == (3, 4, 25)
    assert (found.field, found.reason, found.message_fr) == ("version", "RECORD_CONFLICT", "Une autre version existe.")


def test_refusals_of_a_batch_acknowledged_twice_count_once(run, service):
    service.faults = Faults(
        cut_after_commit_of=[3], refuse=lambda request: [refusal(4)] if request.batch_sequence == 3 else []
    )
    summary = ingest(run, service)
    assert (summary.refused, summary.refused_by_reason) == (1, {"RECORD_CONFLICT": 1})


def test_a_refused_seal_is_told_from_a_refused_record(run, service):
    service.faults.refuse = lambda request: [refusal(0, is_seal=True)]
    seal = DocumentSeal(document=DocumentRef(document_id=bytes(16), version=1), record_count=0)
    summary = ingest(run, service, [seal])
    assert (summary.refused, summary.refused_by_reason, summary.complete) == (0, {"RECORD_CONFLICT": 1}, False)
    assert summary.refusals[0].is_seal


def test_an_error_in_the_source_of_items_comes_out_and_the_journal_stays(run, service, tmp_path):
    def items() -> Iterator[ResourceRecord]:
        yield from RECORDS[: 2 * LIMIT]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        ingest(run, service, items(), spool=tmp_path / "spool")
    with Spool.open(tmp_path / "spool") as spool:
        assert spool.records == 2 * LIMIT


def test_progress_is_told_after_each_acknowledgement(run, service):
    seen = []
    ingest(run, service, on_progress=lambda summary: seen.append(summary.records))
    assert seen == [LIMIT * n for n in range(1, BATCHES + 1)]


def test_an_error_in_the_progress_callback_comes_out(run, service):
    def broken(summary: IngestSummary) -> None:
        raise RuntimeError("the screen broke")

    with pytest.raises(RuntimeError, match="the screen broke"):
        ingest(run, service, on_progress=broken)


# -- the journal on disk -----------------------------------------------------------------------------------------------


def test_an_upload_given_up_is_finished_from_its_spool(run, service, tmp_path):
    service.faults = Faults(cut_before_commit_of=[3] * FAST.attempts)
    with pytest.raises(StoreUnavailable):
        ingest(run, service, spool=tmp_path / "spool")
    with Spool.open(tmp_path / "spool") as spool:
        taken = spool.records
        assert spool.acknowledged == 2
    summary = ingest(run, service, RECORDS[taken:], spool=tmp_path / "spool")
    assert_everything_once(service, summary)
    assert summary.resumed
    assert not (tmp_path / "spool").exists()


def test_a_service_that_forgot_what_it_acknowledged_gets_it_again_from_the_spool(run, service, tmp_path):
    service.faults = Faults(cut_before_commit_of=[4], restored_from_an_older_backup=True)
    assert_everything_once(service, ingest(run, service, spool=tmp_path / "spool"))
    assert sorted(set(service.received)) == list(range(1, BATCHES + 1))


def test_without_a_spool_a_service_that_forgot_is_an_error_not_a_loss(run, service):
    service.faults = Faults(cut_before_commit_of=[4], restored_from_an_older_backup=True)
    with pytest.raises(ServerFailure, match="reprenez l'envoi depuis le début"):
        ingest(run, service)


def test_two_processes_do_not_send_one_spool(run, service, tmp_path):
    with Spool.create(tmp_path / "spool", source_id="paie"), pytest.raises(SpoolBusy):
        ingest(run, service, spool=tmp_path / "spool")


def test_a_spool_of_another_source_is_not_mixed_up(run, service, tmp_path):
    Spool.create(tmp_path / "spool", source_id="autre").close()
    with pytest.raises(SpoolError, match="autre source"):
        ingest(run, service, spool=tmp_path / "spool")


def write_lines(path: Path, records: list[ResourceRecord] = RECORDS) -> Path:
    """A JSON Lines file of the same records; their identifiers are given."""
    lines = [item.model_dump_json(exclude={"document"}, exclude_none=True) for item in records]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_file_is_sent_once_and_leaves_no_journal(run, service, tmp_path):
    file = write_lines(tmp_path / "a.jsonl")
    spools = tmp_path / "spools"
    summary = run(service.address, "ingest_file", file, source_id="paie", spool_directory=spools)
    assert_everything_once(service, summary)
    assert list(spools.iterdir()) == []


def test_a_file_with_an_error_at_its_end_sends_nothing_and_leaves_no_journal(run, service, tmp_path):
    file = write_lines(tmp_path / "a.jsonl")
    file.write_text(file.read_text() + "\n{}", encoding="utf-8")
    with pytest.raises(Exception, match=f"ligne {len(RECORDS) + 1}"):
        run(service.address, "ingest_file", file, source_id="paie", spool_directory=tmp_path / "spools")
    assert service.received == []
    assert list((tmp_path / "spools").iterdir()) == []


def test_an_interrupted_file_goes_on_when_started_again(run, service, tmp_path):
    file = write_lines(tmp_path / "a.jsonl")
    service.faults = Faults(cut_before_commit_of=[4] * FAST.attempts)
    with pytest.raises(StoreUnavailable):
        run(service.address, "ingest_file", file, source_id="paie", spool_directory=tmp_path)
    service.received.clear()
    summary = run(service.address, "ingest_file", file, source_id="paie", spool_directory=tmp_path)
    assert_everything_once(service, summary)
    assert summary.resumed
    assert min(service.received) == 4, "what was acknowledged is not sent again"


def test_interrupted_files_are_finished_without_naming_them(run, service, tmp_path):
    file = write_lines(tmp_path / "a.jsonl")
    service.faults = Faults(cut_before_commit_of=[4] * FAST.attempts)
    with pytest.raises(StoreUnavailable):
        run(service.address, "ingest_file", file, source_id="paie", spool_directory=tmp_path)
    (summary,) = run(service.address, "finish_interrupted", spool_directory=tmp_path)
    assert_everything_once(service, summary)
    assert run(service.address, "finish_interrupted", spool_directory=tmp_path) == []


def test_uploads_for_another_server_are_left_alone(run, service, tmp_path):
    spool = Spool.create(tmp_path / "other", source_id="paie", target="other:1")
    spool.mark_complete()
    spool.close()
    assert run(service.address, "finish_interrupted", spool_directory=tmp_path) == []
    assert (tmp_path / "other" / "batches").exists()


def test_a_file_whose_reading_was_cut_short_is_read_again(run, service, tmp_path, monkeypatch):
    file = write_lines(tmp_path / "a.jsonl")
    spools = tmp_path / "spools"
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "mark_complete", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(Spool, "discard", Spool.close)
        with pytest.raises(KeyboardInterrupt):
            run(service.address, "ingest_file", file, source_id="paie", spool_directory=spools)
    assert len(list(spools.glob("*/batches"))) == 1
    summary = run(service.address, "ingest_file", file, source_id="paie", spool_directory=spools)
    assert_everything_once(service, summary)
    assert not summary.resumed


def test_kill_9_of_the_command_loses_and_doubles_nothing(service, tmp_path):
    """The command sends batches of 500: it is killed while the service holds the first, the third and the fifth."""
    everything = [record(number) for number in range(3000)]
    file = write_lines(tmp_path / "a.jsonl", everything)
    command = [
        sys.executable, "-m", "solidarite_client",
        "ingest", "--server", service.address, "--spool", str(tmp_path / "spools"), str(file),
    ]  # fmt: skip
    for batch in (1, 3, 5):
        service.faults = Faults(silent_at=[batch])
        service.received.clear()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            _wait_until(lambda batch=batch: batch in service.received)
            process.kill()
        assert process.returncode == -9
    service.faults = Faults()
    finished = subprocess.run([*command, "--json"], capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert len(service.records) == len(everything)
    assert service.total == sum(item.montant_net_social_cents for item in everything)
    assert json.loads(finished.stdout)["files"][0]["resumed"]
    assert list((tmp_path / "spools").iterdir()) == []


def test_a_cancelled_task_leaves_a_journal_that_the_next_one_finishes(service, tmp_path):
    async def cancelled_then_finished() -> IngestSummary:
        async with AsyncSolidariteClient(service.address, FAST) as client:
            service.hold.clear()
            sending = asyncio.create_task(client.ingest(RECORDS, source_id="paie", spool=tmp_path / "spool"))
            while not service.received:
                await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            service.hold.set()
            with Spool.open(tmp_path / "spool") as spool:
                taken = spool.records
            return await client.ingest(RECORDS[taken:], source_id="paie", spool=tmp_path / "spool")

    assert_everything_once(service, asyncio.run(cancelled_then_finished()))


def test_items_may_come_from_an_asynchronous_iterator(service):
    async def items() -> AsyncIterator[ResourceRecord]:
        for item in RECORDS:
            yield item

    async def send() -> IngestSummary:
        async with AsyncSolidariteClient(service.address, FAST) as client:
            return await client.ingest(items(), source_id="paie")

    assert_everything_once(service, asyncio.run(send()))


def test_a_closed_client_says_so(service):
    with SolidariteClient(service.address, FAST) as client:
        pass
    with pytest.raises(ClientClosed):
        client.get_foyer("1")


def _wait_until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited state did not come"
        time.sleep(0.01)


# -- calls -------------------------------------------------------------------------------------------------------------


def test_a_call_is_tried_again_while_the_service_is_unavailable(run, service):
    service.faults = Faults(unavailable_calls=FAST.attempts - 1)
    assert run(service.address, "get_ingestion_position", "paie", "x").batch_sequence == 0


def test_a_call_gives_up_after_its_attempts(run, service):
    service.faults = Faults(unavailable_calls=FAST.attempts)
    with pytest.raises(StoreUnavailable, match="indisponible") as caught:
        run(service.address, "get_ingestion_position", "paie", "x")
    assert caught.value.reason == "STORE_UNAVAILABLE"
    assert caught.value.retry_after_seconds == 0.01


def test_an_invalid_request_names_its_field_and_keeps_the_french_sentence(run, service):
    with pytest.raises(InvalidRequest) as caught:
        run(service.address, "list_resource_records", nir="1")
    assert (caught.value.reason, caught.value.field) == ("INVALID_FIELD", "nir")
    assert str(caught.value) == "Un NIR compte 13 caractères."


def test_the_token_of_a_portal_goes_with_every_call(run, service):
    ingest(run, service, settings=FAST.model_copy(update={"token": ClientSettings(token="abc").token}))
    assert service.metadata["authorization"] == "Bearer abc"


def test_plain_text_to_another_machine_has_to_be_said():
    with pytest.raises(PlaintextRefused):
        SolidariteClient("10.0.0.1:50051")
    SolidariteClient("10.0.0.1:50051", ClientSettings(allow_plaintext=True)).close()


def test_a_client_refuses_to_be_used_after_a_fork():
    program = """
import os, sys
from solidarite_client import SolidariteClient
from solidarite_client.errors import ForkedClient
client = SolidariteClient("127.0.0.1:1")
child = os.fork()
if child == 0:
    try:
        client.get_foyer("1")
    except ForkedClient as error:
        os._exit(42 if "fork" in str(error) else 1)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 42


# -- pauses ------------------------------------------------------------------------------------------------------------


class Always:
    """Chance that always gives the upper bound."""

    def uniform(self, low: float, high: float) -> float:
        return high


def test_pauses_double_up_to_their_limit():
    backoff = Backoff(ClientSettings(first_delay_seconds=1, delay_limit_seconds=5, attempts=9), chance=Always())
    assert [backoff.delay_after(ServerUnreachable("…")) for _ in range(5)] == [1, 2, 4, 5, 5]


def test_a_delay_asked_for_by_the_server_is_honoured():
    backoff = Backoff(ClientSettings(first_delay_seconds=1, delay_limit_seconds=60), chance=Always())
    assert backoff.delay_after(Overloaded("…", retry_after_seconds=7)) == 7


def test_progress_gives_back_the_attempts():
    backoff = Backoff(ClientSettings(attempts=2, first_delay_seconds=1, outage_seconds=0), chance=Always())
    assert backoff.delay_after(ServerUnreachable("…")) == 1
    backoff.progressed()
    assert backoff.delay_after(ServerUnreachable("…")) == 1
    with pytest.raises(ServerUnreachable):
        backoff.delay_after(ServerUnreachable("…"))


def test_an_upload_that_made_progress_outlives_an_outage_of_its_limit():
    now = 0.0
    settings = ClientSettings(attempts=2, first_delay_seconds=1, delay_limit_seconds=1, outage_seconds=10)
    backoff = Backoff(settings, chance=Always(), clock=lambda: now)
    backoff.progressed()
    while now < 9.5:
        now += backoff.delay_after(ServerUnreachable("…"))
    with pytest.raises(ServerUnreachable):
        backoff.delay_after(ServerUnreachable("…"))


def test_what_cannot_be_cured_is_not_tried_again():
    with pytest.raises(InvalidRequest):
        Backoff(ClientSettings()).delay_after(InvalidRequest("…"))


def test_the_status_of_the_fake_service_is_one_that_grpc_accepts():
    assert rich_status(code_pb2.UNAVAILABLE, "OVERLOADED", "…").code.value[0] == code_pb2.UNAVAILABLE
