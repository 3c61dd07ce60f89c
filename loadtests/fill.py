"""The people of a load test put in a store, or sent to a server.

Into a store of ours, messages go through the code of the server without the network: the same result, faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
from solidarite.v1 import foyer_pb2, foyer_pb2_grpc, resource_record_pb2_grpc
from solidarite.v1 import resource_record_pb2 as pb

from loadtests import people

SOURCE = "charge-initiale"
_FOYERS_A_BATCH = 500
_PERSONS_A_BATCH = 600  # 1,800 records: a batch holds 2,000 at most
_PERSONS_A_COMMIT = 20_000

Progress = Callable[[str, int, int], None]
"""Told what is being filled, how much is done, and of how much."""


def fill_store(url: str, key_file: Path, foyers: int, persons: int, progress: Progress) -> None:
    """Fill a store that nobody serves yet."""
    from solidarite_server.rpc import convert, convert_records
    from solidarite_server.services.clock import SystemClock
    from solidarite_server.services.foyers import FoyerService
    from solidarite_server.services.keyring import load_or_create
    from solidarite_server.services.pseudonym import HmacPseudonymizer
    from solidarite_server.storage import open_store

    keys = load_or_create(key_file)
    pseudonyms = HmacPseudonymizer(keys.base)
    store = open_store(url, clock=SystemClock(), keys=keys)
    try:
        dossiers = FoyerService(store)
        for block in blocks(foyers, 10 * _FOYERS_A_BATCH):
            dossiers.upsert([convert.foyer(people.dossier(n), "foyer", pseudonyms.nir) for n in block])
            progress("foyers", block.stop, foyers)
        for sequence, block in enumerate(blocks(persons, _PERSONS_A_COMMIT), 1):
            message = pb.StreamResourceRecordsRequest(source_id=SOURCE, batch_sequence=sequence)
            message.columns.CopyFrom(people.held_records(block))
            store.append([convert_records.batch(message, pseudonyms, 3 * _PERSONS_A_COMMIT)])
            progress("persons", block.stop, persons)
    finally:
        store.close()


def fill_server(address: str, foyers: int, persons: int, progress: Progress) -> None:
    """Fill a running server through its contract; RuntimeError when it refuses something."""
    with grpc.insecure_channel(address) as channel:
        records = resource_record_pb2_grpc.ResourceRecordServiceStub(channel).StreamResourceRecords
        dossiers = foyer_pb2_grpc.FoyerServiceStub(channel).StreamFoyers
        for name, answers, size, count in (
            ("foyers", dossiers(_dossiers(foyers)), _FOYERS_A_BATCH, foyers),
            ("persons", records(_records(persons)), _PERSONS_A_BATCH, persons),
        ):
            for answer in answers:
                if answer.refusals:
                    raise RuntimeError(f"the target refused people of the load test: {answer.refusals[0].message_fr}")
                progress(name, min(answer.batch_sequence * size, count), count)


def blocks(count: int, size: int) -> Iterator[range]:
    """0 to `count`, a block at a time."""
    return (range(start, min(start + size, count)) for start in range(0, count, size))


def _dossiers(foyers: int) -> Iterator[foyer_pb2.StreamFoyersRequest]:
    for sequence, block in enumerate(blocks(foyers, _FOYERS_A_BATCH), 1):
        yield foyer_pb2.StreamFoyersRequest(batch_sequence=sequence, foyers=[people.dossier(n) for n in block])


def _records(persons: int) -> Iterator[pb.StreamResourceRecordsRequest]:
    for sequence, block in enumerate(blocks(persons, _PERSONS_A_BATCH), 1):
        message = pb.StreamResourceRecordsRequest(source_id=SOURCE, batch_sequence=sequence)
        message.columns.CopyFrom(people.held_records(block))
        yield message
