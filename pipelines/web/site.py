"""What the views use: the lake, the searcher, the ledger, the language model, and the Dagster instance."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from dagster import DagsterInstance
from starlette.requests import HTTPConnection

from assets.audit import Audit
from assets.judging import Judging
from assets.labelling import Labelling
from assets.search.ask import Asker
from assets.search.query import Searcher, open_search
from assets.shortlists import Shortlists
from assets.transforms.labels.page import annotator_name
from pipelines.web.metrics import PageMetrics
from pipelines.web.security import user_of
from resources.delta.table import LakeResource
from resources.errors import InputError
from resources.llm.resource import LlmResource
from resources.spend.resource import SpendResource
from resources.spend.store import S3Store, Store
from resources.wiring import resources

LOCAL = "local"


@dataclass(frozen=True)
class Site:
    """The parts of one page. ``user_header`` names the header in which a proxy says who asks, "" without a proxy.

    ``hosts`` are the names under which browsers may reach it. With an ``api_key`` every request needs it.
    """

    lake: LakeResource
    searcher: Searcher
    store: Store
    spend: SpendResource
    llm: LlmResource | None = None
    dagster: DagsterInstance | None = None
    dagster_url: str = ""
    user_header: str = ""
    api_key: str = field(default="", repr=False)
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    metrics: PageMetrics = field(default_factory=PageMetrics)

    @cached_property
    def labelling(self) -> Labelling:
        """The labels."""
        return Labelling(self.lake, self.store)

    @cached_property
    def shortlists(self) -> Shortlists:
        """The shortlists."""
        return Shortlists(self.store)

    @cached_property
    def judging(self) -> Judging:
        """The judgements."""
        return Judging(self.store)

    @cached_property
    def audit(self) -> Audit:
        """The audit log."""
        return Audit(self.store)

    def user(self, request: HTTPConnection) -> str:
        """Return who asks, as a part of a key; "" if nobody says so. Raises InputError for a name that is none."""
        written = user_of(request.headers, self.user_header)
        try:
            return annotator_name(written) if written else ""
        except ValueError as error:
            raise InputError(str(error)) from None

    def who(self, request: HTTPConnection) -> str:
        """Return who asks, LOCAL on a page that only one machine reaches."""
        return self.user(request) or LOCAL

    @property
    def asker(self) -> Asker:
        """What answers questions."""
        return Asker(self.searcher, self.llm)


@contextmanager
def open_site(
    dagster: DagsterInstance | None,
    dagster_url: str = "",
    user_header: str = "",
    hosts: tuple[str, ...] = (),
    api_key: str = "",
) -> Iterator[Site]:
    """Yield the page of the stack that the environment variables name. ``hosts`` are names besides loopback's."""
    made, searcher = resources(), open_search()
    with made.llm.process_config_and_initialize_cm() as llm:
        yield Site(
            searcher.lake,
            searcher,
            S3Store(made.s3),
            made.spend,
            llm if llm.url else None,
            dagster,
            dagster_url,
            user_header,
            api_key,
            (*Site.hosts, *hosts),
        )
