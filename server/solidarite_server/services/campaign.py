"""A whole declaration month: every foyer due is prefilled and computed, block by block, and the results kept.

What is computed is what prefilling alone gives for the first month of right: an estimate before the household has
said anything. Two computations of one block give the same results, so that any process, here or elsewhere, may do it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field

from solidarite_server.domain.errors import NotFound, Reason, RequestReplayed
from solidarite_server.domain.month import Month
from solidarite_server.legislation import LegislationOptions
from solidarite_server.ports import CampaignBlock, CampaignRow, Store, StoredCampaign
from solidarite_server.services.blocks import BLOCK_DOSSIERS, computed

_WAITING_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class BlockTask:
    """What one process needs to compute a block: small, and the same everywhere."""

    number: int
    after: str
    up_to: str | None
    mois_declaration: Month
    known_at_us: int
    options: dict[str, str]


Work = Callable[[BlockTask], tuple[CampaignBlock, list[CampaignRow]]]


def compute_block(store: Store, task: BlockTask) -> tuple[CampaignBlock, list[CampaignRow]]:
    """Prefill and compute the dossiers of a block that are due."""
    options = LegislationOptions.named(task.options)
    dossiers = [stored for _, stored in store.foyers_between(task.after, task.up_to)]
    done = computed(store, dossiers, task.mois_declaration, options, task.known_at_us)
    rows = [
        CampaignRow(foyer.numero_allocataire, rsa, prime)
        for foyer, rsa, prime in zip(
            done.foyers, done.rights.rsa_cents.tolist(), done.rights.ppa_cents.tolist(), strict=True
        )
    ]
    block = CampaignBlock(
        task.number,
        len(rows),
        dict(done.refusals),
        sum(row.rsa_cents for row in rows),
        sum(row.prime_activite_cents for row in rows),
    )
    return block, rows


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a campaign is."""

    blocks_total: int
    blocks_done: int
    foyers_done: int
    refusals: Counter[str] = field(default_factory=Counter)
    rsa_total_cents: int = 0
    prime_activite_total_cents: int = 0
    foyers_per_s: float = 0.0
    """Since this run began."""

    @property
    def finished(self) -> bool:
        return self.blocks_done == self.blocks_total

    @property
    def foyers_total(self) -> int:
        """Foyers due: known at the end, until then in proportion to the blocks done."""
        seen = self.foyers_done + sum(self.refusals.values())
        return seen if not self.blocks_done else seen * self.blocks_total // self.blocks_done


def run_campaign(
    store: Store,
    campaign_id: str,
    mois: Month,
    options: LegislationOptions,
    *,
    executor: Executor | None = None,
    work: Work | None = None,
) -> Iterator[Progress]:
    """Run a campaign to its end, or go on with it, telling how far it is after every block.

    With an `executor`, `work` computes a block wherever it runs; without, blocks are computed here. Raises
    RequestReplayed when the identifier already names a campaign of another month.
    """
    campaign = store.campaign(campaign_id) or store.start_campaign(
        campaign_id, mois, store.foyer_bounds(BLOCK_DOSSIERS)
    )
    if campaign.mois_declaration != mois:
        raise RequestReplayed("Cet identifiant nomme déjà une campagne d'un autre mois.", field="campaign_id")
    started, before = time.monotonic(), progress_of(campaign).foyers_done
    tasks = _tasks(campaign, store.last_instant_us(), options)
    yield progress_of(campaign)
    results: Iterator[tuple[CampaignBlock, list[CampaignRow]]]
    if executor is not None and work is not None:
        results = _in_parallel(executor, work, tasks)
    else:
        results = (compute_block(store, task) for task in tasks)
    for block, rows in results:
        store.keep_block(campaign_id, block, rows)
        known = store.campaign(campaign_id)
        assert known is not None
        rate = (progress_of(known).foyers_done - before) / max(time.monotonic() - started, 1e-9)
        yield progress_of(known, rate)


def campaign_progress(store: Store, campaign_id: str) -> Progress:
    """How far a campaign is; NotFound when there is none of that name."""
    campaign = store.campaign(campaign_id)
    if campaign is None:
        raise NotFound("Aucune campagne de ce nom.", reason=Reason.CAMPAIGN_UNKNOWN, field="campaign_id")
    return progress_of(campaign)


def progress_of(campaign: StoredCampaign, foyers_per_s: float = 0.0) -> Progress:
    """Sum the blocks done."""
    refusals: Counter[str] = Counter()
    for block in campaign.blocks:
        refusals.update(block.refusals)
    return Progress(
        len(campaign.bounds) + 1,
        len(campaign.blocks),
        sum(block.done for block in campaign.blocks),
        refusals,
        sum(block.rsa_total_cents for block in campaign.blocks),
        sum(block.prime_activite_total_cents for block in campaign.blocks),
        foyers_per_s,
    )


def _tasks(campaign: StoredCampaign, known_at_us: int, options: LegislationOptions) -> list[BlockTask]:
    done = {block.number for block in campaign.blocks}
    ends: list[str | None] = [*campaign.bounds, None]
    starts = ["", *campaign.bounds]
    return [
        BlockTask(number, after, up_to, campaign.mois_declaration, known_at_us, options.changed())
        for number, (after, up_to) in enumerate(zip(starts, ends, strict=True))
        if number not in done
    ]


def _in_parallel(
    executor: Executor, work: Work, tasks: Sequence[BlockTask]
) -> Iterator[tuple[CampaignBlock, list[CampaignRow]]]:
    """Results as they come, with a bounded number of blocks in the air."""
    waiting: set[Future[tuple[CampaignBlock, list[CampaignRow]]]] = set()
    remaining = iter(tasks)
    try:
        while True:
            for task in remaining:
                waiting.add(executor.submit(work, task))
                if len(waiting) >= _WAITING_BLOCKS:
                    break
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        for future in waiting:
            future.cancel()
