"""A small collection of hand-made creators in memory: tables instead of a lake, and qdrant-client's own engine."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import PrivateAttr
from qdrant_client import QdrantClient

from assets.corpus import CHUNKS, TERMS
from assets.embeddings import embedded
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.search.query import Answer, Searcher
from assets.transforms.search.attributes import attributes
from assets.transforms.search.points import desired_points, payloads
from assets.transforms.text import corpus
from assets.verticals.tags import TAGS
from resources.delta.table import Contents, LakeResource, TableSpec
from resources.s3.client import S3Resource
from resources.vectors.bm25 import SparseEncoder
from resources.vectors.index import VectorIndex
from resources.vectors.resource import QdrantResource
from resources.vectors.server.generations import ServerGenerations
from resources.vectors.values import IndexPoint, SearchFilter
from tests.fakes.embedder import CountingEmbedder, CountingEmbedderResource, counting_embedder
from tests.worlds.search import index_config

THEN = datetime(2026, 1, 1, tzinfo=UTC)
Text = str | None
Creator = tuple[str, Text, Text, Text, str, Text, Text, int | None, str, Sequence[str]]
CREATORS: Sequence[Creator] = (
    # id, handle, display name, bio, network, country, language, followers, verticals, posts
    ("nasa", "nasa", "NASA", "Exploring space", "youtube", "US", "en", 10_000_000, "science",
     ["Rocket launch to the moon today", "The telescope sees distant galaxies"]),
    ("nasafan", "nasa_fan", "Fan of Space", "Not affiliated", "tiktok", "GB", "en", 900, "science",
     ["My model rocket flies", "Lego telescope review"]),
    ("anna", "vegan.chef", "Anna", "Vegan recipes from Berlin", "instagram", "DE", "de", 50_000, "food",
     ["Vegan recipes for the winter", "Soup with soy milk and tofu"]),
    ("petra", "petracooks", "Petra Köchin", "Meat and fish", "instagram", "DE", "de", 1_024, "food",
     ["Recipes with beef and fish", "Vegan steak? My recipe with soy and milk"]),
    ("jeanne", "De jolies choses", "De jolies choses", "Décoration", "youtube", "FR", "fr", 5_000, "home",
     ["Décoration de Noël au café", "Brocante à Paris, café noir"]),
    ("gamer", "blockman", "Block Man", None, "youtube", "US", "en", 300_000, "gaming",
     ["Minecraft castle tutorial", "Minecraft survival tips with redstone"]),
    ("gamer2", "pixel_queen", "Pixel Queen", "Games all day", "tiktok", "CA", "en", 7, "gaming",
     ["Retro games collection", "Speedrun of a platform game"]),
    ("yuki", "東京カフェ", "Yuki", "カフェ巡り", "instagram", "JP", "ja", 2_000, "food,travel",
     ["東京カフェ巡り 美味しいケーキ", "京都の寺を歩く"]),
    ("ling", "ling_hk", "Ling", None, "youtube", "HK", "yue", 4_096, "food",
     ["香港茶餐廳 奶茶", "點心同叉燒"]),
    ("wei", "wei.tw", "Wei", None, "youtube", "TW", "zh", 40_000, "travel",
     ["台灣夜市 小吃", "高雄旅行"]),
    ("somchai", "somchai", "สมชาย", None, "tiktok", "TH", "th", 600, "food",
     ["กินผัดไทยอร่อยมาก", "เที่ยวเชียงใหม่"]),
    ("ivan", "Доктор Дью", "Доктор Дью", "Видео о здоровье", "youtube", "RU", "ru", 77_000, "health",
     ["Здоровье и спорт каждый день", "Как спать лучше"]),
    ("kari", "kari.fjell", "Kari", None, "x", "NO", "nb", None, "travel",
     ["Fjell og fjord i dag", "Ski i fjellet"]),
    ("runner", "run_emma", "Emma Runs", "Marathon every month", "x", "GB", "en", 1_023, "sport",
     ["Marathon training plan", "Running shoes review"]),
    ("ghost", "ghostwriter", "Ghost", "A quiet account about ceramics", "x", "US", "en", 12, "home", []),
    ("emoji", "♥♥♥", "Hearts", None, "tiktok", None, None, 0, "", ["I love 🍕 and 🍔", "wi-fi router setup"]),
)  # fmt: skip
WORDLESS: Creator = ("hearts", "hearts", None, None, "x", None, None, 0, "", ("💜💜", "🍕"))


class WordEmbedder(CountingEmbedder):
    """A text's vector is the mean of its words' vectors, so that texts with equal words are near."""

    def vector(self, text: str) -> NDArray[np.float32]:
        words = [super(WordEmbedder, self).vector(word) for word in text.casefold().split()]
        mean = np.mean(words, axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)


class Tables(LakeResource):
    """A lake whose tables are in memory."""

    _tables: dict[str, pl.DataFrame] = PrivateAttr(default_factory=dict)

    def scan(self, spec: TableSpec, bucket: int | None = None) -> pl.LazyFrame:
        return self._tables[spec.name].lazy()

    def contents(self, spec: TableSpec, buckets: Sequence[int] | None = None) -> dict[int, Contents]:
        return {0: Contents("", self._tables[spec.name].height, 0)}

    def snapshot(self, spec: TableSpec) -> None:
        return None


class Memory(QdrantResource):
    """The one index, in qdrant-client's own engine."""

    _index: Any = PrivateAttr()

    @contextmanager
    def open(self, model: str | None = None) -> Iterator[VectorIndex]:
        yield self._index


@cache
def small_search(unread: str = "") -> Searcher:
    """A searcher of CREATORS. The id of a post is its account's and a number; each post is a month later.

    With ``unread``, the model can read neither the posts of this account nor those of WORDLESS, which is there too.
    """
    embedder: CountingEmbedderResource
    embedder, _ = counting_embedder()
    model = WordEmbedder()
    embedder.__dict__["model"] = lambda: model
    creators = [*CREATORS, WORDLESS] if unread else CREATORS
    model.unreadable.update(
        text for id_, *_, texts in creators if unread and id_ in {unread, "hearts"} for text in texts
    )
    tables = _tables(creators)
    lake = Tables(s3=S3Resource(bucket="none"))
    lake._tables = tables
    qdrant = Memory()
    qdrant._index = _index(model, tables)
    return Searcher(lake, embedder, qdrant)


def _tables(creators: Sequence[Creator]) -> dict[str, pl.DataFrame]:
    accounts, posts, tags = [], [], []
    for id_, handle, display, bio, network, country, language, followers, verticals, texts in creators:
        accounts.append(
            {"account_id": id_, "account_bucket": 0, "handle": handle, "display_name": display, "bio": bio,
             "network": network, "country": country, "language": language, "followers": followers}
        )  # fmt: skip
        tags += [{"item_id": id_, "item_kind": "account", "vertical": name} for name in verticals.split(",") if name]
        posts += [
            {"post_id": f"{id_}/{number}", "account_id": id_, "account_bucket": 0, "network": network, "text": text,
             "posted_at": THEN.replace(month=1 + number), "media_url": f"https://media.example/{id_}/{number}"}
            for number, text in enumerate(texts)
        ]  # fmt: skip
    in_lake = {LAKE_ACCOUNTS.name: _rows(LAKE_ACCOUNTS, accounts), LAKE_POSTS.name: _rows(LAKE_POSTS, posts)}
    in_lake[TAGS.name] = _rows(TAGS, tags)
    described = attributes(in_lake[LAKE_POSTS.name], in_lake[LAKE_ACCOUNTS.name])
    encoder = SparseEncoder()
    chunks = pl.DataFrame(
        [
            {"post_id": post["post_id"], "chunk_no": 0, "point_id": corpus.point_id(str(post["post_id"]), 0),
             "content_hash": corpus.content_hash(str(post["text"])), "text": post["text"],
             "terms": encoder.count_terms(str(post["text"])).indices.tolist()}
            for post in posts
        ]
    ).join(described, on="post_id")  # fmt: skip
    in_lake[CHUNKS.name] = _rows(CHUNKS, chunks.to_dicts())
    counts = Counter(term for terms in chunks["terms"].to_list() for term in terms)
    in_lake[TERMS.name] = _rows(
        TERMS, [{"account_bucket": 0, "term": term, "documents": count} for term, count in counts.items()]
    )
    return in_lake


def _rows(spec: TableSpec, rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=spec.polars_schema)


def _index(model: CountingEmbedder, tables: dict[str, pl.DataFrame]) -> VectorIndex:
    points = desired_points(tables[CHUNKS.name], tables[TAGS.name])
    texts = points["text"].to_list()
    vectors, sparse = embedded(model, texts), SparseEncoder().encode_documents(texts)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Payload indexes have no effect in the local Qdrant")
        generations = ServerGenerations(QdrantClient(":memory:"), "memory")
        index = generations.open(generations.create(index_config(model.dimension)))
    parts = zip(points["point_id"], vectors, sparse, payloads(points), strict=True)
    index.upsert(IndexPoint(*part) for part in parts)
    return index


def ask(text: str, limit: int = 50, **options: Any) -> Answer:
    """Ask with the fields of SearchFilter and the arguments of ``Searcher.answer``."""
    of_filter = {name: options.pop(name) for name in list(options) if name in SearchFilter.__dataclass_fields__}
    wanted: dict[str, Any] = {
        name: frozenset(value) if isinstance(value, list) else value for name, value in of_filter.items()
    }
    return small_search().answer(text, SearchFilter(**wanted), limit, **options)


def ids(answer: Answer) -> list[str]:
    return [account.account_id for account in answer.accounts]
