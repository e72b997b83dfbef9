"""Read a judged set of summaries: entities with reviews, and what people wrote about them."""

from pathlib import Path

import polars as pl

from resources.errors import InputError

REVIEWS, REFERENCES = "reviews.parquet", "references.parquet"
_EXPECTED = f"expected one with {REVIEWS} (entity_id, review_id, text) and {REFERENCES} (entity_id, summary)"


def open_reviews(folder: Path) -> tuple[pl.DataFrame, dict[str, list[str]]]:
    """Return the reviews (entity_id, review_id, text), sorted, and entity → reference summaries.

    Only entities that have both. Raises InputError at the first problem.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; {_EXPECTED}.")
    reviews = _texts(folder / REVIEWS, ("entity_id", "review_id", "text"))
    references = _texts(folder / REFERENCES, ("entity_id", "summary"))
    doubled = reviews.filter(reviews.select("entity_id", "review_id").is_duplicated())
    if doubled.height:
        entity, review = doubled.row(0)[:2]
        raise InputError(f"{folder / REVIEWS} has review {review!r} of entity {entity!r} twice; expected each id once.")
    by_entity = references.group_by("entity_id").agg("summary")
    judged = reviews.join(by_entity, on="entity_id", how="semi").sort("entity_id", "review_id")
    if judged.is_empty():
        raise InputError(
            f"No entity of {folder / REVIEWS} is in {folder / REFERENCES}; expected equal entity_id values."
        )
    entities = set(judged["entity_id"])
    return judged, {entity: texts for entity, texts in by_entity.iter_rows() if entity in entities}


def _texts(file: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    """Return these columns as text, without rows where one is null or blank. Raises InputError if none is left."""
    if not file.is_file():
        raise InputError(f"{file.parent} has no {file.name}; {_EXPECTED}.")
    try:
        found = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{file} cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    missing = [name for name in columns if name not in found.columns]
    if missing:
        raise InputError(f"{file} has no column {missing[0]!r}; it has {', '.join(found.columns)}.")
    try:
        texts = found.select(pl.col(columns).cast(pl.String))
    except pl.exceptions.PolarsError:
        raise InputError(f"{file} has a column that is no text: expected text in {', '.join(columns)}.") from None
    told = texts.filter(pl.all_horizontal(pl.all().str.contains(r"\S")))
    if told.is_empty():
        raise InputError(f"{file} has no row with all of {', '.join(columns)}; expected text in each.")
    return told
