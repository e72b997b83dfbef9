"""Faults of the source, raw windows and lake tables."""

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from assets.lake import LAKE_TABLES
from assets.marts.operations import SPEND
from assets.stages import TABLES
from assets.summaries.model_table import MODEL_SUMMARIES
from assets.summaries.model_testimonials_table import MODEL_TESTIMONIALS
from assets.verticals.model_tags import MODEL_TAGS
from tests.worlds import faults as f
from tests.worlds import more_faults as m
from tests.worlds.fault_catalogue.declaration import MOJIBAKE, FaultRow, rows
from tests.worlds.faults import added, changed, lost
from tests.worlds.mart_faults import spent_below_zero


def raw_faults(name: str) -> Iterator[FaultRow]:
    key, made = LAKE_TABLES[name].key[0], "posted" if name == "posts" else "created"
    window = f"raw/{name}/source=postgres/window="
    yield from rows(
        f"raw/{name}:windows_complete",
        file_lost=f.object_lost(window),
        file_one_byte_short=f.object_rewritten(window, lambda body: body[:-1]),
        file_half_written=f.object_rewritten(window, lambda body: body[: len(body) // 2]),
        file_empty=f.object_rewritten(window, lambda _: b""),
        window_skipped=f.window_skipped(name),
        window_doubled=m.window_added(name, lambda window: window),
        window_overlaps=m.window_added(name, lambda window: replace(window, upper="2099-01-01T00:00:00+00:00")),
    )
    yield from rows(
        f"raw/{name}:contract_holds",
        column_added=f.source_altered(f"ALTER TABLE {name} ADD reach bigint", f"ALTER TABLE {name} DROP reach"),
        column_renamed=f.source_altered(
            f"ALTER TABLE {name} RENAME {made}_at TO made_at", f"ALTER TABLE {name} RENAME made_at TO {made}_at"
        ),
        column_retyped=f.source_altered(
            f"ALTER TABLE {name} ALTER deleted_at TYPE text",
            f"ALTER TABLE {name} ALTER deleted_at TYPE timestamptz USING deleted_at::timestamptz",
        ),
    )
    first = f"{key} = (SELECT min({key}) FROM {name})"
    yield from rows(
        f"raw/{name}:all_rows_read",
        row_undated=f.source_altered(
            f"UPDATE {name} SET updated_at = NULL WHERE {first}",
            f"UPDATE {name} SET updated_at = '2024-03-01T12:00:00Z' WHERE updated_at IS NULL",
        ),
        clock_jumped_back=f.source_altered(
            f"UPDATE {name} SET updated_at = '2020-01-01' WHERE {first}",
            f"UPDATE {name} SET updated_at = '2024-03-01T12:00:00Z' WHERE updated_at < '2021-01-01'",
        ),
    )
    yield from rows(
        f"raw/{name}:sources_agree",
        other_source_lacks_a_file=f.another_source(name, lambda _, files: files[1:]),
        other_source_doubles_a_file=f.another_source(name, lambda _, files: (*files, files[0])),
        other_source_has_other_values=f.another_source(name, f.rewritten),
    )


def lake_faults(name: str) -> Iterator[FaultRow]:
    spec = LAKE_TABLES[name]
    key, text = spec.key[0], "bio" if name == "accounts" else "text"
    impossible = {
        "accounts": pl.lit(-1).alias("followers"),
        "posts": pl.lit(-5).alias("likes"),
        "testimonials": pl.lit(9).alias("rating"),
    }[name]
    yield from rows(
        f"lake/{name}:reconciles_with_raw",
        row_lost=lost(spec),
        row_foreign=added(spec, **{key: "foreign"}),
        row_repeated_by_another_writer=added(spec),
        row_in_two_buckets=added(spec, account_bucket=2),
        rows_stale=changed(spec, "updated_at", "updated_at - INTERVAL '1 day'"),
        rows_changed_by_another_writer=changed(spec, text, "'never written'"),
        partition_dropped=m.partition_dropped(spec),
        manifest_lost=m.manifest_lost(name),
        log_tampered=m.log_tampered(spec),
    )
    yield from rows(
        f"lake/{name}:keys_unique",
        row_misplaced=added(spec, account_bucket=2),
        row_repeated=added(spec),
        key_null=added(spec, **{key: None}),
    )
    yield from rows(f"lake/{name}:keys_in_one_bucket", key_in_two_buckets=added(spec, account_bucket=2))
    yield from rows(
        f"lake/{name}:values_plausible",
        clock_jumped_ahead=changed(spec, "updated_at", "updated_at + INTERVAL '20 years'"),
        clock_at_zero=changed(spec, "updated_at", "updated_at - INTERVAL '50 years'"),
        figure_impossible=m.edited(spec, lambda rows: pl.concat([rows.with_columns(impossible)] * 3)),
        required_null=changed(spec, "updated_at", "NULL"),
    )
    yield from rows(
        f"lake/{name}:texts_readable",
        texts_misread=m.edited(spec, lambda rows: pl.concat([rows.with_columns(pl.lit(MOJIBAKE).alias(text))] * 3)),
    )


def written_faults() -> Iterator[FaultRow]:
    empty = {  # and a fault that fills them
        SPEND.name: spent_below_zero,
        MODEL_SUMMARIES.name: m.model_summary(),
        MODEL_TAGS.name: m.model_tag(),
        MODEL_TESTIMONIALS.name: m.model_said(),
    }
    for spec in TABLES:
        faults = {"file_half_written": m.file_cut(spec, 0.5)}
        if spec.partitioned:
            faults["file_emptied"] = m.file_emptied(spec)
        if spec.name in empty:
            faults = {name: m.both(empty[spec.name], fault) for name, fault in faults.items()}
        yield from rows(f"{spec.name}:rows_as_written", **faults)
    for name, spec in LAKE_TABLES.items():
        yield from rows(
            f"lake/{name}:rows_as_written",
            changed_in_place=f.object_rewritten(f"{spec.name}/account_bucket=", f.changed_in_place(spec.key[0])),
        )
