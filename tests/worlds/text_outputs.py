"""A world of hostile texts: the lineage carries them, and every output that somebody reads is collected."""

import io
import random
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import duckdb
import polars as pl
from dagster import DagsterInstance, MarkdownMetadataValue, TableMetadataValue, TextMetadataValue
from rich.console import Console
from starlette.testclient import TestClient

from assets.erasure.erase import erase
from assets.labels.votes import LANDING as LABELS
from assets.landing import files_not_taken
from assets.marts.tables import MARTS
from assets.search.ask import Asker
from assets.search.query import Searcher
from pipelines.cli import ask, doctor, presentation
from pipelines.cli import erase as erasing_command
from pipelines.cli.diagnosis.registry import Finding
from pipelines.cli.files import duckdb_file, spreadsheet_rows, table_file
from pipelines.cli.terminal import print_json
from pipelines.web.app import make_app
from pipelines.web.site import Site
from resources.catalogues import load_verticals
from resources.local_stack import EmbeddedStack
from resources.plain_text import plain
from resources.sources.rds_export import RdsExportResource
from resources.spend.resource import SpendResource
from resources.spend.store import S3Store
from resources.vectors.values import SearchFilter
from tests.worlds.check_results import BY_NAME, evaluate
from tests.worlds.erasure import erasing
from tests.worlds.hostile_text import CONTROLS, MARKUP, text_of
from tests.worlds.lineage import World
from tests.worlds.lineage_rows import owners
from tests.worlds.loaded import empty_world

_THEN = "2024-03-01T12:00:00Z"
_ORIGIN = "http://127.0.0.1"


@dataclass(frozen=True)
class Output:
    """What one place shows. ``kind`` is a key of text_verdict.JUDGES."""

    place: str
    kind: str
    text: str


@dataclass(frozen=True)
class TextWorld:
    """A world after its run. ``ids`` are the hostile accounts, ``texts`` the texts of their posts."""

    world: World
    instance: DagsterInstance
    ids: list[str]
    texts: list[str]

    def outputs(self, checks: Iterable[str] = tuple(BY_NAME), *, served: bool = True) -> Iterator[Output]:
        """Yield every output. Those of search, ask, the page and an erasure need a run of the whole lineage."""
        yield from self._run()
        yield from self._checks(checks)
        yield from self._files()
        if served:
            yield from self._answers()
            yield from self._pages()
            yield from self._erasure()

    def _run(self) -> Iterator[Output]:
        for run in self.instance.get_runs():
            for entry in self.instance.all_logs(run.run_id):
                yield Output("log", "lines", entry.user_message)
                found = entry.dagster_event.event_specific_data if entry.dagster_event else None
                event = getattr(found, "materialization", None) or getattr(found, "asset_observation", None)
                if event is None:
                    continue
                for name, value in event.metadata.items():
                    yield from _metadata(f"metadata {event.asset_key.to_user_string()}: {name}", value)

    def _checks(self, names: Iterable[str]) -> Iterator[Output]:
        for name in names:
            found = evaluate(self.world, name)
            if found is not None:
                yield Output(f"check {name}", "terminal", found.description or "")
                for key, value in found.metadata.items():
                    yield from _metadata(f"check {name}: {key}", value)

    def _files(self) -> Iterator[Output]:
        s3 = self.world.s3
        for item in s3.list_objects("quicksight/"):
            yield Output(item.key, "csv" if item.key.endswith(".csv") else "json", (s3.get(item.key) or b"").decode())
        with tempfile.TemporaryDirectory() as folder:
            for spec in MARTS:
                rows, name = self.world.lake.scan(spec).select(spec.schema.names), spec.name.replace("/", "-")
                table_file.csv(Path(folder, f"{name}.csv"), rows, spec)
                spreadsheet_rows.xlsx(Path(folder, f"{name}.xlsx"), rows, spec)
            duckdb_file.write(Path(folder, "marts.duckdb"), MARTS, self.world.lake)
            for path in sorted(Path(folder).iterdir()):
                yield from _exported(path)
        left = files_not_taken(s3, RdsExportResource(s3=s3, location="exports"))
        findings = [Finding.warning(f"No stage reads {file.key}.", file.reason) for file in left]
        yield printed("doctor", lambda _to: doctor._show(findings))

    def _answers(self) -> Iterator[Output]:
        searcher, where = Searcher(self.world.lake, self.world.embedding[0], self.world.qdrant), SearchFilter()
        for query in ["sourdough", *(f"@{id_}" for id_ in self.ids[:3]), *self.texts[:3]]:
            asked = plain(query)[:200]
            answer = searcher.answer(query[:500], where, limit=20)
            yield printed(
                f"search {asked!r}", lambda to, a=answer, q=query: presentation.show_answer(to, q, a, facets=True)
            )
        for question in ("Who bakes sourdough bread?", *self.texts[:3]):
            said = Asker(searcher, None).ask(question[:500], where)
            yield printed("ask", lambda to, a=said: ask.show(to, a))
            yield printed("ask --json", lambda _to, a=said: print_json(ask.as_values(a)))

    def _pages(self) -> Iterator[Output]:
        lake, s3 = self.world.lake, self.world.s3
        searcher = Searcher(lake, self.world.embedding[0], self.world.qdrant)
        site = Site(lake, searcher, S3Store(s3), SpendResource(s3=s3, ceiling_usd="5"), dagster=self.instance)
        page = TestClient(make_app(site), _ORIGIN, headers={"Origin": _ORIGIN}, follow_redirects=False)
        vertical = load_verticals()[0].name
        ids = [quote(id_, safe="") for id_ in self.ids]
        texts = [quote(text[:300], safe="") for text in self.texts[:3]]
        for address in (
            *(
                "/",
                "/?q=sourdough",
                "/ask?q=sourdough",
                "/verticals",
                f"/verticals?vertical={vertical}",
                "/spend",
                "/pipeline",
            ),
            *(f"/creator?id={id_}" for id_ in ids),
            *(f"/?q={text}" for text in (*ids[:2], *texts)),
            *(f"/ask?q={text}" for text in texts),
            f"/label?annotator=ann&vertical={vertical}",
        ):
            yield Output(f"page {address[:60]}", "html", page.get(address).text)
            if "/label" in address:
                [item] = re.findall(r'name="item_id" value="([^"]*)"', page.get(address).text)
                form = {"annotator": "ann", "vertical": vertical, "item_id": item, "action": "yes"}
                assert page.post("/label", data=form).status_code == 303
        for item in s3.list_objects(f"{LABELS}page/"):
            rows = pl.read_parquet(io.BytesIO(s3.get(item.key) or b"")).drop("item_id")  # which stays as it is
            yield Output(item.key, "values", _values(rows))

    def _erasure(self) -> Iterator[Output]:
        values = erase(erasing(self.world), self.ids[0]).to_json()
        yield printed("erase", lambda _to: erasing_command._show(values, as_json=False))
        yield printed("erase --json", lambda _to: erasing_command._show(values, as_json=True))
        for item in self.world.s3.list_objects("erasure/receipts/"):
            yield Output(item.key, "json", (self.world.s3.get(item.key) or b"").decode())


@contextmanager
def text_world(
    stack: EmbeddedStack, name: str, folder: Path, seed: int, accounts: int, size: int, groups: Iterable[str] = ()
) -> Iterator[TextWorld]:
    """Run the lineage, or some groups, on hostile accounts with two posts of about ``size`` characters each."""
    draw, world = random.Random(seed), empty_world(stack, name, folder)  # noqa: S311
    odd = [draw.choice((*MARKUP, *CONTROLS)) for _ in range(accounts)]
    ids = [owners(f"{text}-{number}-", number % 2, 1)[0] for number, text in enumerate(odd)]
    texts = [f"sourdough {text_of(draw, size)}" for _ in range(2 * accounts)]

    def short() -> str:
        return text_of(draw, 40)

    rows = [(id_, short(), short(), short(), text_of(draw, size), 5, "DE", "en", _THEN, _THEN, None) for id_ in ids]
    posts = [
        (f"{ids[number // 2]}/{number % 2}", ids[number // 2], short(), _THEN, text, [short(), short()], short(),
         short(), 1, 2, 3, 4, _THEN, None)
        for number, text in enumerate(texts)
    ]  # fmt: skip
    said = [(f"{id_}/t", short(), short(), id_, short(), text_of(draw, size), 9 - number % 2 * 8, _THEN, _THEN, None)
            for number, id_ in enumerate(ids)]  # fmt: skip
    with world.source() as connection, connection.cursor() as cursor:
        for table, found in (("accounts", rows), ("posts", posts), ("testimonials", said)):
            places = ", ".join(["%s"] * len(found[0]))
            cursor.executemany(f"INSERT INTO {table} VALUES ({places})".encode(), found)
    labels = [
        ("post", f"{id_}/0", text, number % 2 == 0) for number, (id_, text) in enumerate(zip(ids, odd, strict=True))
    ]
    world.drop_labels("odd", labels)
    for number, text in enumerate(odd[:4]):
        world.drop_audience(
            f"odd{number}-2026-03-01", f'account_id;"{text}";country_DE\n"{ids[number]}";1;"{short()}"\n'
        )
        world.s3.put(f"landing/{text.replace('/', '')}{number}.txt", b"x")
    with DagsterInstance.ephemeral() as instance:
        report = world.run(*groups, instance=instance)
        assert report.success, report.errors
        yield TextWorld(world, instance, ids, texts)


def printed(place: str, show: Any) -> Output:
    """Return what a command prints, on a wide screen."""
    target = io.StringIO()
    to = Console(file=target, width=3_000, emoji=False, force_terminal=False)
    with (
        patch.multiple("pipelines.cli.erase", out=to, err=to),
        patch("pipelines.cli.doctor.out", to),
        patch("pipelines.cli.terminal.out", to),
    ):
        show(to)
    return Output(place, "json" if place.endswith("--json") else "terminal", target.getvalue())


def _metadata(place: str, value: Any) -> Iterator[Output]:
    yield Output("name of metadata", "terminal", place)
    if isinstance(value, MarkdownMetadataValue):
        yield Output(place, "markdown", value.value or "")
    elif isinstance(value, TextMetadataValue):
        yield Output(place, "terminal", value.value or "")
    elif isinstance(value, TableMetadataValue):
        yield Output(
            place, "terminal", " ".join(str(cell) for record in value.records for cell in record.data.values())
        )


def _exported(path: Path) -> Iterator[Output]:
    if path.suffix == ".csv":
        yield Output(path.name, "csv", path.read_bytes().decode())
    elif path.suffix == ".xlsx":
        with zipfile.ZipFile(path) as book:
            for name in book.namelist():
                if re.search(r"sheet\d|sharedStrings", name):
                    yield Output(f"{path.name}: {name}", "sheet", book.read(name).decode())
    else:
        with duckdb.connect(str(path), read_only=True) as connection:
            for spec in MARTS:
                table = connection.table(spec.name.removeprefix("mart/")).to_arrow_table()
                yield Output(f"{path.name}: {spec.name}", "values", _values(pl.DataFrame(table)))


def _values(rows: pl.DataFrame) -> str:
    return "\n".join(str(value) for row in rows.select(pl.col(pl.String)).iter_rows() for value in row)
