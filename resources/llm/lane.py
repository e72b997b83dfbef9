"""How requests of an asset are sent: one interface for single calls and for batches."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from resources.errors import CippusError, InputError
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


def asked(lane: Lane, requests: Sequence[Request], report: Callable[[str], None]) -> dict[str, Answer | Unanswered]:
    """Return request id → answer, or why there is none. A ceiling or an endpoint that fails leaves the rest waiting.

    ``report`` is told why. Raises InputError, because a bad setting does not mend itself.
    """
    found: dict[str, Answer | Unanswered] = {}
    try:
        for outcome in lane.ask(requests):
            found[outcome.id] = outcome
    except InputError:
        raise
    except CippusError as error:
        report(f"What needs no language model stays where no answer came. {error}")
        for request in requests:
            id_ = request.id(lane.model)
            found.setdefault(id_, Unanswered(id_, f"Not sent: {error}"))
    return found
