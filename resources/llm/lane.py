"""How requests of an asset are sent: one interface for single calls and for batches."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from resources.llm.request import Answer, Request, Unanswered

LIVE, BATCH, OFF = "live", "batch", "off"


class Lane(Protocol):
    """The requests of one model, for one run of one asset. No request is paid twice, in whichever lane it was sent."""

    @property
    def model(self) -> str:
        """Name of the model, which is part of a request's id."""

    def find(self, request_ids: Sequence[str]) -> Iterator[Answer | Unanswered]:
        """Yield what is known of requests of earlier runs: an answer, or that it is still awaited."""

    def ask(self, requests: Sequence[Request]) -> Iterator[Answer | Unanswered]:
        """Yield an answer to each different request, or why there is none yet. Sends what nobody has sent."""

    def forget(self, request_ids: Sequence[str]) -> None:
        """Delete answers that a table has taken in."""
