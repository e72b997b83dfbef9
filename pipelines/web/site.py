"""What the views use: the lake, the searcher, the ledger, the language model, and the Dagster instance."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dagster import DagsterInstance

from assets.labelling import Labelling
from assets.search.ask import Asker
from assets.search.query import Searcher, open_search
from pipelines.web.metrics import PageMetrics
from resources.delta.table import LakeResource
from resources.llm.resource import LlmResource
from resources.spend.resource import SpendResource
from resources.spend.store import S3Store
from resources.wiring import resources


@dataclass(frozen=True)
class Site:
    """The parts of one page. ``user_header`` names the header in which a proxy says who asks, "" without a proxy.

    ``hosts`` are the names under which browsers may reach it.
    """

    lake: LakeResource
    searcher: Searcher
    labelling: Labelling
    spend: SpendResource
    llm: LlmResource | None = None
    dagster: DagsterInstance | None = None
    dagster_url: str = ""
    user_header: str = ""
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    metrics: PageMetrics = field(default_factory=PageMetrics)

    @property
    def asker(self) -> Asker:
        """What answers questions."""
        return Asker(self.searcher, self.llm)


@contextmanager
def open_site(
    dagster: DagsterInstance | None, dagster_url: str = "", user_header: str = "", hosts: tuple[str, ...] = ()
) -> Iterator[Site]:
    """Yield the page of the stack that the environment variables name. ``hosts`` are names besides loopback's."""
    made, searcher = resources(), open_search()
    with made.llm.process_config_and_initialize_cm() as llm:
        yield Site(
            searcher.lake,
            searcher,
            Labelling(searcher.lake, S3Store(made.s3)),
            made.spend,
            llm if llm.url else None,
            dagster,
            dagster_url,
            user_header,
            (*Site.hosts, *hosts),
        )
