"""`cippus erase`: an account out of everything that is stored, with a receipt."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.terminal import Json, err, out, print_json, require_stack, require_utf8
from pipelines.local.run_lock import only_run
from resources.errors import InputError, PermanentFailure
from resources.settings import Environment, environment, home

if TYPE_CHECKING:
    from assets.erasure.erase import Erasing
    from assets.erasure.receipt import Receipt

_FAILED = 1


def erase(
    account_id: Annotated[str, typer.Argument(help="The account's id, as in the source.")],
    canary: Annotated[
        list[str] | None, typer.Option("--canary", help="A text of the account's alone, to look for too; repeatable.")
    ] = None,
    canaries: Annotated[Path | None, typer.Option("--canaries", help="A file of such texts, one a line.")] = None,
    scan_only: Annotated[
        bool, typer.Option("--scan-only", help="Look for the account and erase nothing; exit 1 when it is found.")
    ] = False,
    ahead: Annotated[
        bool, typer.Option("--ahead", help="Also when nothing of it is stored yet: keeps it from being extracted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Erase an account from every layer for good, and print the receipt; exit 1 when the scan finds anything left."""
    from assets.erasure.erase import erase as erase_account
    from assets.erasure.erase import look

    if not account_id.strip():
        message = "The account id is empty; expected one of the source's."
        raise InputError(message)
    texts = [*(canary or []), *_lines(canaries)]
    _require_text(account_id, texts)
    require_stack()
    with only_run(home()), _parts() as parts:
        if scan_only:
            _, found = look(parts, account_id, texts)
            _show_scan(found.to_json(), sorted(found.places), as_json=as_json)
            raise typer.Exit(_FAILED if found.places else 0)
        receipt = erase_account(parts, account_id, texts, ahead=ahead)
    _show(receipt, as_json=as_json)
    if not receipt.is_clean:
        raise typer.Exit(_FAILED)


def _require_text(account_id: str, texts: list[str]) -> None:
    require_utf8("The account id or a canary", account_id, *texts)
    if not all(text.strip() and "\0" not in text for text in texts):
        message = "A canary is empty or has a zero byte; expected a text that stands in the account's data alone."
        raise InputError(message)


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        message = f"--canaries is {path}, expected a file of texts, one a line: {error}"
        raise InputError(message) from None


@contextmanager
def _parts() -> "Iterator[Erasing]":
    from assets.erasure.erase import Erasing
    from assets.erasure.points import every_point
    from assets.partitions import BUCKETS
    from pipelines.jobs.asset_jobs import INDEX, TABLES_AFTER_LAKE
    from resources.erasure.scan import Scan
    from resources.wiring import resources

    made = resources()
    qdrant = made.qdrant.process_config_and_initialize()  # its key is an EnvVar until then, as are the others'

    def points() -> Any:
        with qdrant.generations() as generations:
            yield from every_point(generations)

    embedded = environment() is not Environment.PRODUCTION
    with made.erasures.process_config_and_initialize_cm() as erasures:
        yield Erasing(
            s3=made.s3,
            lake=made.lake,
            ledger=made.ledger,
            erasures=erasures,
            embedder=made.embedder.process_config_and_initialize(),
            qdrant=qdrant,
            scan=Scan(
                s3=made.s3,
                folders={"home": home()} if embedded else {},
                left_out=frozenset({home() / "postgres"}),
                points=points if qdrant.url else None,
            ),
            buckets=[int(key) for key in BUCKETS.get_partition_keys()],
            settle_tables=lambda: _settle(TABLES_AFTER_LAKE.name),
            settle_index=lambda: _settle(INDEX.name),
            vacuum=_vacuum if embedded and not made.s3.endpoint_url else None,
            on_step=lambda step: err.print(f"cippus: {step}", style="dim", highlight=False),
        )


def _settle(job_name: str) -> None:
    from pipelines.cli.lineage import settle

    failures = settle(home(), job_name, err)
    for step, message in failures.items():
        sentence = f"{step} failed, and the erasure is not complete: {message}"
        raise PermanentFailure(sentence)


def _vacuum() -> int:
    from pipelines.local.s3_volumes import vacuum

    return vacuum(home())


def _show_scan(found: dict[str, Any], places: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({**found, "found_in": places})
        return
    out.print(f"{found['objects']:,} objects and files, {found['bytes']:,} bytes", highlight=False)
    for layer, counts in found["layers"].items():
        told = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
        out.print(f"{layer:10} {told}", highlight=False, soft_wrap=True)
    if not places:
        out.print("nothing found", highlight=False)


def _show(receipt: "Receipt", *, as_json: bool) -> None:
    told = receipt.to_json()
    if as_json:
        print_json(told)
        return
    for layer, figures in told["removed"].items():
        removed = ", ".join(f"{figure:,} {name}" for name, figure in figures.items())
        out.print(f"{layer:28} {removed}", highlight=False, soft_wrap=True)
    before, after = told["found_before"], told["found_after"]
    out.print(f"found before in {before['places']:,} places, after in {after['places']:,}", highlight=False)
    for place in after["left_in"]:
        err.print(f"cippus: left in {place}", style="red", highlight=False, soft_wrap=True, markup=False)
    for note in told["notes"]:
        out.print(note, highlight=False, soft_wrap=True)
    out.print(f"account {told['account']}, attempt {told['attempt']}", highlight=False)
