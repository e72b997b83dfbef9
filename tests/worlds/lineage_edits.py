"""Edits of the small lineage's source: new texts, deletions, a moved post, a row that cannot be used."""

from tests.worlds.lineage import World
from tests.worlds.lineage_rows import (
    ACCOUNTS,
    FIRST,
    LAST,
    TOPICS,
)

NOW = "updated_at = clock_timestamp()"
EDITED = [f"{account}/{number}" for account in (*ACCOUNTS[4:6], *ACCOUNTS[6:9]) for number in (0, 1)]
"""Ten posts, of two accounts of bucket 0 and three of bucket 1; those of TWINS get one text."""
TWINS = (f"{ACCOUNTS[7]}/1", f"{ACCOUNTS[8]}/1")
DELETED = [f"{ACCOUNTS[5]}/2", f"{ACCOUNTS[6]}/2", f"{ACCOUNTS[7]}/2"]
DELETED_ACCOUNT = ACCOUNTS[9]
MOVED = f"{FIRST}/1"
COPY, COPIED_TEXT = f"{LAST}/copy", f"{FIRST} talks about {TOPICS[0]}, part 0"
UNUSABLE = "post-without-account"


def new_text(post: str) -> str:
    return "Now about marmalade, twice" if post in TWINS else f"Now about marmalade in {post}"


def edit(world: World) -> None:
    with world.source() as connection:
        for post in EDITED:
            connection.execute(f"UPDATE posts SET text = %s, {NOW} WHERE post_id = %s".encode(), (new_text(post), post))
        deleted = f"deleted_at = clock_timestamp(), {NOW}"
        connection.execute(f"UPDATE posts SET {deleted} WHERE post_id = ANY(%s)".encode(), (DELETED,))
        connection.execute(f"UPDATE accounts SET {deleted} WHERE account_id = %s".encode(), (DELETED_ACCOUNT,))
        connection.execute(f"UPDATE posts SET account_id = %s, {NOW} WHERE post_id = %s".encode(), (LAST, MOVED))
        insert = "INSERT INTO posts (post_id, account_id, network, posted_at, text, likes, updated_at) VALUES "
        values = "(%s, %s, 'youtube', '2024-02-20', %s, 1, clock_timestamp())"
        connection.execute((insert + values).encode(), (COPY, LAST, COPIED_TEXT))
        connection.execute((insert + values).encode(), (UNUSABLE, None, "Nobody's"))
