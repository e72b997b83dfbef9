"""Other engines as judges: Spark and, where it can be had, Trino read every table and the change feed as polars does.

A lineage runs in a stack of its own. Then posts are inserted, changed, deleted, moved to another bucket, and erased;
their words are changed in between. The tables are copied to a folder, which all engines read.
"""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl
import polars.selectors as cs
from deltalake import DeltaTable
from rich.console import Console

from assets.lake import LAKE_POSTS
from assets.stages import TABLES
from resources.delta.table import LakeResource, TableSpec
from resources.errors import InputError
from tests.benchmarks import BenchResult, Target
from tests.benchmarks import engines_spark as spark
from tests.benchmarks import engines_trino as trino
from tests.benchmarks.engines_figures import SPARK, TRINO, Answer, Dialect, Schema, differences, in_polars, query
from tests.benchmarks.engines_statistics import measure_statistics
from tests.chaos.bench import own_stack
from tests.worlds.governor_launcher import stop_governors
from tests.worlds.lineage import World
from tests.worlds.lineage_rows import ACCOUNTS, FIRST, LAST
from tests.worlds.loaded import loaded_world

MERGES = 10
_BY = ("_change_type", "_commit_version")
_FEED, _SORTED = "feed", "sorted"


@dataclass
class Copies:
    """Tables in a folder, and their rows as polars reads them. ``first``: the first version of lake/posts' feed."""

    folder: Path
    first: int
    specs: dict[str, TableSpec] = field(default_factory=dict)
    rows: dict[str, pl.DataFrame] = field(default_factory=dict)
    feed: pl.DataFrame = field(default_factory=pl.DataFrame)

    def schema(self, name: str) -> Schema:
        """Return the columns whose figures are compared."""
        return self.rows["lake_posts" if name in (_FEED, _SORTED) else name].schema

    def ours(self, name: str, *, rounded: bool = False) -> Answer:
        """Return polars' answer; with ``rounded``, of times in milliseconds."""
        rows = self.feed if name == _FEED else self.rows["lake_posts" if name == _SORTED else name]
        seen = rows.with_columns(cs.datetime().dt.round("1ms")) if rounded else rows
        return in_polars(seen, self.schema(name), _by(name))


def _by(name: str) -> tuple[str, ...]:
    return _BY if name == _FEED else ()


def measure(home: Path, console: Console) -> BenchResult:
    """Compare the engines, and measure what statistics cost. ``home`` is not used."""
    del home
    lacking = {name: reason for name, reason in (("spark", spark.missing()), ("trino", trino.missing())) if reason}
    for reason in lacking.values():
        console.print(reason, markup=False, highlight=False, soft_wrap=True)
    if "spark" in lacking:
        raise InputError(lacking["spark"])
    with ExitStack() as opened:
        stack = opened.enter_context(own_stack())
        opened.callback(stop_governors)
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="cippus-engines-"))
        world = loaded_world(stack).clone("engines", Path(folder) / "world")
        copies = _copied(world, _changed(world), Path(folder) / "tables")
        console.print(f"{len(copies.specs)} tables are written", highlight=False)
        costs = measure_statistics(LakeResource(s3=world.s3), MERGES)
        console.print(f"statistics make commits {costs['commit_bytes_ratio']:.2f} times as large", highlight=False)
        figures: dict[str, float] = {"tables": len(copies.specs), "changes_in_the_feed": _changes(copies)}
        unequal = 0
        for engine, judge in {"spark": _spark, "trino": _trino}.items():
            if engine in lacking:
                continue
            found = judge(copies)
            for name, wrong in found.items():
                console.print(f"{engine}, {name}: {'; '.join(wrong[:5])}" if wrong else f"{engine}, {name}: equal")
            figures[f"{engine}_compared"] = len(found)
            figures[f"{engine}_equal"] = sum(not wrong for wrong in found.values())
            unequal += sum(bool(wrong) for wrong in found.values())
    return BenchResult("engines", figures | costs | {"unequal": unequal}, {"unequal": Target.at_most(0, unequal)})


def _changed(world: World) -> int:
    """Change posts in all ways, and return the version of lake/posts after which this began."""
    table = world.lake.create(LAKE_POSTS)
    before = table.version()
    now = "updated_at = date_trunc('second', now()) + interval '123456 microseconds'"
    for statement, *given in (
        (f"UPDATE posts SET likes = likes + 1, {now} WHERE account_id = %s", FIRST),
        (f"UPDATE posts SET deleted_at = now(), {now} WHERE post_id = %s", f"{ACCOUNTS[1]}/1"),
        (f"UPDATE posts SET account_id = %s, {now} WHERE post_id = %s", LAST, f"{FIRST}/1"),
        (
            "INSERT INTO posts (post_id, account_id, network, posted_at, text, updated_at) "
            "VALUES (%s, %s, 'youtube', '2024-02-29 23:59:59.999999Z', 'Ελληνικά 👍', now())",
            f"{FIRST}/new",
            FIRST,
        ),
    ):
        world.execute(statement, *given)
    world.run_well("raw", "lake")
    reworded = {**LAKE_POSTS.columns, "likes": replace(LAKE_POSTS.columns["likes"], description="Other words.")}
    world.lake.describe(replace(LAKE_POSTS, columns=reworded), "Other words.")
    world.lake.delete_where(LAKE_POSTS, f"post_id = '{ACCOUNTS[2]}/2'")
    world.run_well("lake", "mart")  # the words are put right
    return before + 1


def _copied(world: World, first: int, folder: Path) -> Copies:
    """Copy the tables to a folder, lake/posts twice, and read them."""
    copies = Copies(folder, first)
    for spec in TABLES:
        if world.lake.open(spec) is None:
            continue
        name = spec.name.replace("/", "_")
        copies.specs[name] = spec
        for item in world.s3.list_objects(f"{spec.name}/"):
            for place in [folder, folder / "copy"] if spec is LAKE_POSTS else [folder]:
                (place / item.key).parent.mkdir(parents=True, exist_ok=True)
                (place / item.key).write_bytes(world.s3.get(item.key) or b"")
        copies.rows[name] = pl.read_delta(str(folder / spec.name))
    table = DeltaTable(str(folder / LAKE_POSTS.name))
    copies.feed = pl.DataFrame(table.load_cdf(starting_version=first).read_all())
    return copies


def _changes(copies: Copies) -> int:
    """Return the number of rows in the feed. Raises RuntimeError if it does not have all kinds of changes."""
    kinds = {*copies.feed["_change_type"]}
    if kinds != {"insert", "update_preimage", "update_postimage", "delete"}:
        message = f"The feed has no more than {', '.join(sorted(kinds))}."
        raise RuntimeError(message)
    return copies.feed.height


def _queries(copies: Copies, dialect: Dialect, sources: Mapping[str, str]) -> dict[str, str]:
    return {name: query(dialect, source, copies.schema(name), _by(name)) for name, source in sources.items()}


def _other_words(answer: Answer, at: int) -> list[str]:
    """Return the columns of lake/posts whose comment, in column ``at`` of an answer, has other words."""
    found = {row[0]: row[at] for row in answer}
    return [name for name, column in LAKE_POSTS.columns.items() if found.get(name) != column.description]


def _spark(copies: Copies) -> dict[str, list[str]]:
    """Return table, feed and comments → how Spark differs. It also sorts a copy of lake/posts by ``posted_at``."""
    folders = {name: copies.folder / spec.name for name, spec in copies.specs.items()}
    in_order = f"delta.`{copies.folder / 'copy' / LAKE_POSTS.name}`"
    asked = _queries(copies, SPARK, {**{name: name for name in folders}, _FEED: _FEED, _SORTED: in_order})
    queries = ["DESCRIBE lake_posts", f"OPTIMIZE {in_order} ZORDER BY (posted_at)", *asked.values()]
    words, _, *answers = spark.ask(folders, {_FEED: (folders["lake_posts"], copies.first)}, queries)
    found = {name: differences(copies.ours(name), answer) for name, answer in zip(asked, answers, strict=True)}
    return {**found, "comments": _other_words(words, 2)}


def _trino(copies: Copies) -> dict[str, list[str]]:
    """Return table, feed and comments → how Trino differs from times in milliseconds."""
    # Its feed begins after a version.
    feed = f"TABLE(delta.system.table_changes('lake', 'lake_posts', {copies.first - 1}))"
    asked = _queries(copies, TRINO, {**{name: f"delta.lake.{name}" for name in copies.specs}, _FEED: feed})
    tables = {name: spec.name for name, spec in copies.specs.items()}
    words, *answers = trino.ask(copies.folder, tables, ["DESCRIBE delta.lake.lake_posts", *asked.values()])
    answered = zip(asked, answers, strict=True)
    found = {name: differences(copies.ours(name, rounded=True), answer) for name, answer in answered}
    return {**found, "comments": _other_words(words, 3)}
