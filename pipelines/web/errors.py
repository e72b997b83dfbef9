"""An error of a view as a status and a sentence."""

import logging
from dataclasses import dataclass

from resources.errors import InputError, TransientFailure, as_cippus_error
from resources.vectors.values import CollectionMissingError

DEFECT = "The page has a defect; the log of `cippus web` shows it."
_LOG = logging.getLogger("cippus.web")


@dataclass(frozen=True)
class Problem:
    """What went wrong: the status of the answer, a title, a sentence for the reader, and whether it is their input."""

    status: int
    title: str
    sentence: str
    is_refusal: bool = False


def problem_of(raised: Exception) -> Problem:
    """Return what a reader sees of an error; log it unless the reader can mend it."""
    error = as_cippus_error(raised)
    if error is None:
        _LOG.error("A view failed.", exc_info=raised)
        return Problem(500, "Defect", DEFECT)
    if isinstance(error, InputError):
        return Problem(400, "Not understood", str(error), is_refusal=True)
    is_passing = isinstance(error, TransientFailure | CollectionMissingError)
    _LOG.warning("%s", error)
    title = "Not available now" if is_passing else "Failed"
    return Problem(503 if is_passing else 500, title, str(error).splitlines()[0])
