"""How tests open an LLM client, plan its provider's faults and read its answers."""

from collections.abc import Callable

from resources.llm.client import Llm
from resources.llm.request import Answer, Unanswered
from tests.fakes.llm_server import Provider

Open = Callable[..., Llm]


def faults(provider: Provider, *planned: str) -> None:
    left = list(planned)
    provider.fault = lambda: left.pop(0) if left else ""


def texts(found: list[Answer | Unanswered]) -> list[str]:
    return [answer.text for answer in found if isinstance(answer, Answer)]
