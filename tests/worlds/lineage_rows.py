"""The source rows, labels and judgements of a small world, some of them odd."""

import itertools
from typing import Any

import psycopg

from assets.transforms.source.schema import account_bucket
from resources.catalogues import load_verticals
from resources.settings import bucket_count


def owners(prefix: str, bucket: int, count: int) -> list[str]:
    """The first ids of a numbered series that fall into a bucket."""
    numbered = (f"{prefix}{number}" for number in itertools.count())
    return list(itertools.islice((it for it in numbered if account_bucket(it, bucket_count()) == bucket), count))


ACCOUNTS = [*owners("creator-", 0, 6), *owners("creator-", 1, 6)]
FIRST, LAST = ACCOUNTS[0], ACCOUNTS[-1]  # an account of bucket 0 and one of bucket 1
BRANDS = [*owners("brand-", 0, 1), *owners("brand-", 1, 1)]
TOPICS = ("sourdough", "gravel", "telescope", "ukulele", "origami")
SHARED_TEXT = "Two creators post the very same words"
LONG_TEXT = " ".join(f"word{number}" for number in range(300))
FIRST_AUDIENCE = "account_id;Gender: Female;country_DE\n" + "".join(f"{account};51,5;40 %\n" for account in ACCOUNTS)
FIRST_JUDGEMENTS = [
    *((TOPICS[1], "account", account, int(account != LAST)) for account in ACCOUNTS[-3:]),
    (TOPICS[1], "post", f"{FIRST}/0", 0),
    (f"@{FIRST} {TOPICS[2]}", "account", LAST, 1),
]
"""One query with good and bad results, and one that names an account and has no bad ones."""
QUERIES = frozenset(query for query, *_ in FIRST_JUDGEMENTS)
LABELLED, ALSO_LABELLED = load_verticals()[0].name, load_verticals()[1].name


def first_labels(vertical: str) -> list[tuple[str | None, str | None, str | None, bool | None]]:
    """Labels that are enough to fit a vertical's thresholds for posts and for accounts: half of them members."""
    posts = [f"{account}/{number}" for account in ACCOUNTS[::2] for number in (0, 1)]
    labels = [("post", post, vertical, number % 2 == 0) for number, post in enumerate(posts)]
    return [*labels, *(("account", account, vertical, number % 2 == 0) for number, account in enumerate(ACCOUNTS))]


def seed(connection: "psycopg.Connection[Any]") -> None:
    """12 accounts with five posts each, some of them odd, and four testimonials of which one cannot be used."""
    then = "2024-03-01T12:00:00Z"
    accounts = [
        (account, "youtube", account.title(), f"Name {account}", "A bio", number * 100, "DE", "de", then, then, None)
        for number, account in enumerate(ACCOUNTS)
    ]
    posts = []
    for account in ACCOUNTS:
        for number, topic in enumerate(TOPICS):
            text: str | None = f"{account} talks about {topic}, part {number}"
            text = SHARED_TEXT if (account, number) in ((FIRST, 3), (LAST, 3)) else text
            text = LONG_TEXT if (account, number) == (ACCOUNTS[1], 4) else text
            text = None if (account, number) == (ACCOUNTS[2], 4) else text
            text = f"{account} talks about {TOPICS[0]}, part 0" if (account, number) == (ACCOUNTS[3], 4) else text
            posted = f"2024-02-0{number + 1}T08:00:00Z"
            posts.append(
                (
                    f"{account}/{number}",
                    account,
                    "youtube",
                    posted,
                    text,
                    ["a", "b"],
                    None,
                    "video",
                    *(3, 2, 90, 1),
                    then,
                    None,
                )
            )
    stranger = owners("stranger-", 0, 1)[0]
    posts.append((f"{stranger}/0", stranger, "youtube", then, "Of nobody", [], None, "video", 0, 0, 0, 0, then, None))
    said = "I liked {} a lot"
    testimonials = [
        (f"testimonial-{number}", brand, "spring", account, "customer", said.format(brand), rating, then, then, None)
        for number, (brand, account, rating) in enumerate(
            [(BRANDS[0], None, 5), (BRANDS[1], None, None), (BRANDS[0], FIRST, 1), (BRANDS[0], FIRST, 9)]
        )
    ]
    with connection.cursor() as cursor:
        for table, rows in (("accounts", accounts), ("posts", posts), ("testimonials", testimonials)):
            places = ", ".join(["%s"] * len(rows[0]))
            cursor.executemany(f"INSERT INTO {table} VALUES ({places})".encode(), rows)
