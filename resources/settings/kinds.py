"""Kinds of values of settings, and their words in an error."""

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SECONDS, WHOLE_SECONDS = "a number of seconds above 0", "a whole number of seconds"
RATE = "a number of requests per second"
