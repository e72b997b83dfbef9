"""`cippus erase`: erase an account from everything that is stored, and print a receipt."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.account import AccountFile, AccountId, read_account
from pipelines.cli.terminal import Json, err, out, print_json, require_stack, shown
from pipelines.local.run_lock import only_run
from resources.errors import PermanentFailure
from resources.settings import Environment, environment, home

if TYPE_CHECKING:
    from assets.erasure.erase import Erasing
    from resources.llm.batches.book import Job
    from resources.llm.resource import LlmResource


def erase(
    account_id: AccountId = None,
    account_file: AccountFile = None,
    canary: Annotated[
        list[str] | None, typer.Option("--canary", help="A text of this account only, to scan for too; repeatable.")
    ] = None,
    canaries: Annotated[
        Path | None, typer.Option("--canaries", help="A file with one such text per line; - for stdin.")
    ] = None,
    scan_only: Annotated[
        bool, typer.Option("--scan-only", help="Scan for the account and erase nothing; exit 1 if it is found.")
    ] = False,
    ahead: Annotated[
        bool, typer.Option("--ahead", help="Also if nothing of it is stored yet: it will not be extracted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Erase an account from every layer for good, and print the receipt; exit 1 if the scan finds anything left."""
    from assets.erasure.erase import erase as erase_account
    from assets.erasure.erase import look

    account, texts = read_account(account_id, account_file, canary, canaries)
    require_stack()
    with only_run(home()), _parts() as parts:
        if scan_only:
            found = look(parts, parts.terms(account, texts))
            _show_scan({**found.to_json(), "not_searched": found.unsearched}, sorted(found.places), as_json=as_json)
            raise typer.Exit(1 if found.places or found.unsearched else 0)
        receipt = erase_account(parts, account, texts, ahead=ahead)
    _show(receipt.to_json(), as_json=as_json)
    if not receipt.is_clean:
        raise typer.Exit(1)


@contextmanager
def _parts() -> "Iterator[Erasing]":
    from assets.erasure.erase import Erasing
    from assets.erasure.points import every_point
    from assets.partitions import BUCKETS
    from pipelines.jobs.asset_jobs import INDEX, TABLES_AFTER_LAKE
    from pipelines.local.s3_volumes import vacuum
    from resources.erasure.scan import Scan
    from resources.wiring import resources, with_secrets

    parts = resources()
    qdrant = parts.qdrant.process_config_and_initialize()  # resolves the EnvVars of its secrets

    def points() -> Any:
        with qdrant.generations() as generations:
            yield from every_point(generations)

    embedded = environment() is not Environment.PRODUCTION
    with parts.erasures.process_config_and_initialize_cm() as erasures:
        yield Erasing(
            s3=parts.s3,
            lake=parts.lake,
            ledger=parts.ledger,
            erasures=erasures,
            embedder=parts.embedder.process_config_and_initialize(),
            qdrant=qdrant,
            scan=Scan(
                s3=parts.s3,
                folders={"home": home()} if embedded else {},
                left_out=frozenset({home() / "postgres"}),
                engines=frozenset({home() / "qdrant", home() / "s3"}),
                points=points,
            ),
            buckets=[int(key) for key in BUCKETS.get_partition_keys()],
            update_tables=lambda: _update(TABLES_AFTER_LAKE.name),
            update_index=lambda: _update(INDEX.name),
            vacuum=(lambda: vacuum(home())) if embedded and not parts.s3.endpoint_url else None,
            end_batch=lambda asset, scope, job: _end_batch(with_secrets(parts.llm), asset, scope, job),
            home=home() if embedded else None,
            on_step=lambda step: err.print(f"cippus: {shown(step)}", style="dim", highlight=False),
        )


def _end_batch(llm: "LlmResource", asset: str, scope: str, job: "Job") -> None:
    """Take in or cancel a batch that has texts of the account. The receipt reports one that cannot be reached."""
    from resources.llm.batches.book import Book
    from resources.llm.batches.erasing import erase_at_provider
    from resources.llm.completions import CallFailedError

    jobs = llm.jobs(Book(llm.spend.store, asset, scope), "erase", asset)
    try:
        erase_at_provider(jobs, job)
    except CallFailedError as failure:
        err.print(shown(f"cippus: {failure.error}"), style="red", highlight=False, soft_wrap=True)
    finally:
        jobs.close()


def _update(job_name: str) -> None:
    from pipelines.cli.lineage import settle

    for step, reason in settle(home(), job_name, err).items():
        raise PermanentFailure(
            f"{step} failed, so the erasure is not complete. Fix the cause and erase again: {reason}"
        )


def _show_scan(found: dict[str, Any], places: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({**found, "found_in": places})
        return
    out.print(f"{found['objects']:,} objects and files, {found['bytes']:,} bytes", highlight=False)
    for layer, counts in found["layers"].items():
        out.print(shown(f"{layer:10} {_listed(counts)}"), highlight=False, soft_wrap=True)
    _show_unsearched(found["not_searched"])
    if not places:
        out.print("nothing found", highlight=False)


def _show(receipt: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(receipt)
        return
    for layer, figures in receipt["removed"].items():
        out.print(shown(f"{layer:28} {_listed(figures)}"), highlight=False, soft_wrap=True)
    before, after = receipt["found_before"], receipt["found_after"]
    out.print(f"found before in {before['places']:,} places, after in {after['places']:,}", highlight=False)
    for place in after["left_in"]:
        err.print(f"cippus: left in {shown(place)}", style="red", highlight=False, soft_wrap=True)
    _show_unsearched(receipt["not_searched"])
    for note in receipt["notes"]:
        out.print(shown(note), highlight=False, soft_wrap=True)
    out.print(f"account {shown(receipt['account'])}, attempt {shown(receipt['attempt'])}", highlight=False)


def _show_unsearched(places: dict[str, str]) -> None:
    for place, reason in places.items():
        err.print(
            f"cippus: not searched: {shown(place)}: {shown(reason)}", style="red", highlight=False, soft_wrap=True
        )


def _listed(figures: dict[str, int]) -> str:
    return ", ".join(f"{figure:,} {name}" for name, figure in figures.items())
