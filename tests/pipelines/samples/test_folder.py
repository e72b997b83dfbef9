"""Validation of a folder of Parquet files: every error names the file, the column and the expected type."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.transforms.source.schema import POSTS
from pipelines.samples.folder import open_folder
from tests.worlds.source_folder import SCHEMAS, read, refusal, whole, with_column, write


def test_a_whole_folder_is_read_in_the_declared_columns_and_types(tmp_path: Path) -> None:
    files = open_folder(write(tmp_path, testimonials=whole("testimonials"), labels=whole("labels")))
    assert {name: read(file) for name, file in files.items()} == {name: whole(name) for name in SCHEMAS}
    assert [file.ignored for file in files.values()] == [()] * 4


def test_testimonials_and_labels_may_be_absent(tmp_path: Path) -> None:
    assert list(open_folder(write(tmp_path))) == ["accounts", "posts"]


def test_a_missing_folder(tmp_path: Path) -> None:
    expected = f"{tmp_path}/no is not a folder; expected one with accounts.parquet and posts.parquet."
    assert refusal(tmp_path / "no") == expected


@pytest.mark.parametrize("name", ["accounts", "posts"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    (write(tmp_path) / f"{name}.parquet").unlink()
    assert refusal(tmp_path) == f"{tmp_path} has no {name}.parquet; expected accounts.parquet and posts.parquet."


@pytest.mark.parametrize("body", [b"", b"account_id,network\n", b"PAR1" + bytes(64) + b"PAR1"])
def test_a_file_that_is_not_parquet(tmp_path: Path, body: bytes) -> None:
    (write(tmp_path) / "posts.parquet").write_bytes(body)
    assert refusal(tmp_path).startswith(f"{tmp_path}/posts.parquet cannot be read as Parquet: ")


@pytest.mark.parametrize("column", ["text", "media_url"])
def test_a_file_with_damaged_pages(tmp_path: Path, column: str) -> None:
    """``media_url`` has a wrong type, so its pages are already read to see whether it is all null."""
    table = with_column("posts", column, pa.array(["x" * 99] if column == "text" else [7]))
    pq.write_table(table, write(tmp_path) / "posts.parquet", compression="zstd", use_dictionary=False)
    chunk = pq.ParquetFile(tmp_path / "posts.parquet").metadata.row_group(0).column(table.column_names.index(column))
    body = bytearray((tmp_path / "posts.parquet").read_bytes())
    body[chunk.data_page_offset : chunk.data_page_offset + chunk.total_compressed_size] = (
        b"\xff" * chunk.total_compressed_size
    )
    (tmp_path / "posts.parquet").write_bytes(body)
    assert refusal(tmp_path).startswith(f"{tmp_path}/posts.parquet cannot be read as Parquet: ")


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_a_missing_column(tmp_path: Path, name: str) -> None:
    for field in SCHEMAS[name]:
        folder = write(tmp_path, **{name: whole(name).drop_columns(field.name)})
        if name == "labels" and field.name in {"annotator", "labelled_at", "is_review"}:
            assert read(open_folder(folder)["labels"])[field.name].to_pylist() == [None]
        else:
            expected = f"{tmp_path}/{name}.parquet has no column {field.name}; expected it with type {field.type}."
            assert refusal(folder) == expected


def test_a_column_twice(tmp_path: Path) -> None:
    twice = whole("posts").append_column("text", pa.array(["another"]))
    assert refusal(write(tmp_path, posts=twice)) == f"{tmp_path}/posts.parquet has 2 columns text; expected one."


def test_a_file_without_rows_is_taken(tmp_path: Path) -> None:
    file = open_folder(write(tmp_path, posts=POSTS.schema.empty_table()))["posts"]
    assert list(file.batches()) == []


def spark_folder(folder: Path, *parts: pa.Table, success: bool = True) -> Path:
    """A folder as Spark writes it in the place of posts.parquet."""
    path = write(folder) / "posts.parquet"
    path.unlink()
    path.mkdir()
    for number, part in enumerate(parts):
        pq.write_table(part, path / f"part-{number:05}-c000.snappy.parquet")
        (path / f".part-{number:05}-c000.snappy.parquet.crc").write_bytes(b"crc")
    if success:
        (path / "_SUCCESS").touch()
    return path


def test_a_folder_that_spark_wrote_is_one_file(tmp_path: Path) -> None:
    doubles = with_column("posts", "likes", pa.array([7.0, float("nan")]))
    spark_folder(tmp_path, whole("posts"), POSTS.schema.empty_table(), doubles.append_column("x", pa.array([1, 2])))
    file = open_folder(tmp_path)["posts"]
    assert read(file)["likes"].to_pylist() == [*whole("posts")["likes"].to_pylist(), 7, None]
    assert file.ignored == ("x",)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("", "is a folder with no file; expected only Parquet files, as Spark writes them."),
        ("part.csv", "is a folder with part.csv; expected only Parquet files, as Spark writes them."),
        ("network=x/part.parquet", "has parts in folders: network=x; write it again, without partitions."),
        ("_temporary/0/part.parquet", "is not finished: _temporary; write it again, without partitions."),
    ],
)
def test_a_folder_that_cannot_be_used(tmp_path: Path, entry: str, reason: str) -> None:
    path = spark_folder(tmp_path)
    if entry:
        (path / entry).parent.mkdir(parents=True, exist_ok=True)
        (path / entry).write_bytes(b"x")
    assert refusal(tmp_path) == f"{path} {reason}"


def test_a_defect_in_a_part_names_the_part(tmp_path: Path) -> None:
    path = spark_folder(tmp_path, whole("posts"), whole("posts").drop_columns("likes"))
    expected = f"{path}/part-00001-c000.snappy.parquet has no column likes; expected it with type int64."
    assert refusal(tmp_path) == expected


def test_extra_columns_are_ignored_and_named(tmp_path: Path) -> None:
    extra = whole("accounts").append_column("zodiac", pa.array(["♌"])).append_column("text.x", pa.array([1]))
    file = open_folder(write(tmp_path, accounts=extra))["accounts"]
    assert file.ignored == ("text.x", "zodiac")
    assert read(file) == whole("accounts")


def test_rows_come_in_batches(tmp_path: Path) -> None:
    many = pa.concat_tables([whole("testimonials")] * 25_001)
    file = open_folder(write(tmp_path, testimonials=many))["testimonials"]
    assert [batch.num_rows for batch in file.batches()] == [10_000, 10_000, 5_001]
