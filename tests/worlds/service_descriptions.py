"""Sessions of boto3 and s3fs that share what they parse."""

import functools
from typing import Any

import botocore.loaders

_parsed = functools.cache(botocore.loaders.JSONFileLoader().load_file)


def _load_file(_loader: botocore.loaders.JSONFileLoader, file_path: str) -> Any:
    return _parsed(file_path)


def parse_service_descriptions_once() -> None:
    """Keep the JSON that each session of boto3 and s3fs parses anew, which takes a tenth of a second."""
    botocore.loaders.JSONFileLoader.load_file = _load_file  # type: ignore[assignment]
