"""A national campaign: every foyer of a store prefilled, computed, and its result kept.

    python -m loadtests.benchmarks.campaign [--foyers 2100000] [--processes 2] [--store URL]

Prints one JSON object. `ratio_to_read_write` is the campaign's time over that of reading the same dossiers and records
and writing the same results without computing anything, in the same run, with the same processes.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from solidarite_server import campaign_workers
from solidarite_server.domain.foyer import Foyer
from solidarite_server.legislation import LegislationOptions
from solidarite_server.ports import CampaignBlock, CampaignRow, Store
from solidarite_server.services import codec
from solidarite_server.services.campaign import BlockTask, Progress, Work, run_campaign
from solidarite_server.services.clock import SystemClock
from solidarite_server.storage import open_store

from loadtests.benchmarks import filled


def read_only(url: str, task: BlockTask) -> tuple[CampaignBlock, list[CampaignRow]]:
    """The reads and the writes of a block, and nothing else."""
    store = campaign_workers.opened(url)
    foyers = [codec.loads(Foyer, stored.payload) for _, stored in store.foyers_between(task.after, task.up_to)]
    persons = [m.pseudonyme for foyer in foyers for m in foyer.membres if m.pseudonyme is not None]
    mois = task.mois_declaration
    store.records_of(persons, mois - 4, mois - 2, known_at_us=task.known_at_us)
    rows = [CampaignRow(foyer.numero_allocataire, 0, 0) for foyer in foyers]
    return CampaignBlock(task.number, len(rows), {}, 0, 0), rows


def timed(store: Store, name: str, pool: Executor, work: Work) -> tuple[float, Progress]:
    """Run a whole campaign; seconds, and its last progress."""
    start = time.perf_counter()
    *_, last = run_campaign(store, name, filled.MOIS, LegislationOptions.law(), executor=pool, work=work)
    return time.perf_counter() - start, last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foyers", type=int, default=2_100_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--store", default="", help="an empty store to fill; by default, a temporary SQLite file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="campagne-") as folder:
        url = asked.store or f"sqlite:///{Path(folder) / 'campagne.db'}"
        start = time.perf_counter()
        records = filled.fill(url, asked.foyers)
        filling = time.perf_counter() - start
        store = open_store(url, clock=SystemClock())
        with campaign_workers.processes(asked.processes) as pool:
            # Processes start, and load the compiled rules, before anything is timed.
            list(pool.map(campaign_workers.ready, range(asked.processes)))
            without, _ = timed(store, "lecture", pool, partial(read_only, url))
            seconds, last = timed(store, "campagne", pool, campaign_workers.work_on(url))
        store.close()
    here, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(
        json.dumps(
            {
                "foyers": asked.foyers,
                "records": records,
                "processes": asked.processes,
                "fill_seconds": round(filling, 1),
                "seconds": round(seconds, 1),
                "foyers_per_s": round(asked.foyers / seconds),
                "read_write_seconds": round(without, 1),
                "ratio_to_read_write": round(seconds / without, 2),
                "rsa_total_cents": last.rsa_total_cents,
                "prime_activite_total_cents": last.prime_activite_total_cents,
                "memory_mib": {"parent": here // 1024, "largest_process": children // 1024},
            }
        )
    )


if __name__ == "__main__":
    main()
