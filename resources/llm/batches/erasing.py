"""Take an account out of the batches: what is stored of them here, and their files at the provider."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from resources.llm.batches.book import ENDED, FOLDER, RUNNING, Job, books
from resources.spend.store import Store

if TYPE_CHECKING:  # importing the endpoints' client takes a second
    from resources.llm.batches.jobs import Jobs


def forget_account(store: Store, account_id: str) -> int:
    """Delete the account's answers, and its id from the requests. Return the number of lines.

    A request without accounts counts as everybody's. An answer that still comes for such a request is not kept.
    """
    gone = 0
    for key in list(store.keys(f"{FOLDER}/")):
        found = store.get(key) if key.endswith(".jsonl") else None
        lines = [json.loads(line) for line in found.body.splitlines()] if found else []
        kept = []
        for line in lines:
            owners = line.get("account_ids")
            is_own = owners is not None and (account_id in owners or (not owners and not line.get("is_erased")))
            gone += is_own
            if not is_own:
                kept.append(line)
            elif "/requests/" in key:
                kept.append({**line, "account_ids": [], "is_erased": True})
        if kept != lines:
            store.put(key, b"\n".join(json.dumps(line).encode() for line in kept))
    return gone


def with_erased(store: Store) -> Iterator[tuple[str, str, Job]]:
    """Yield (asset, scope, job) of every batch whose files at the provider hold texts of an erased account."""
    for asset, scope, book in books(store):
        for job in book.page()[0].jobs.values():
            if (job.state != ENDED or job.delete) and any(each.is_erased for each in book.wanted(job.name).values()):
                yield asset, scope, job


def erase_at_provider(jobs: "Jobs", job: Job) -> None:
    """Bring a batch to its end: take it in if it has ended, and cancel it otherwise. Its files go when it is taken in.

    What others asked for in it is sent again by a later run, if the provider did not answer it. Raises CallFailedError.
    """
    jobs.look()
    left = jobs.book.page()[0].jobs.get(job.name)
    if left is not None and left.state == RUNNING:
        jobs.provider.cancel(left.batch)
        jobs.look()
