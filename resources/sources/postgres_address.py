"""Where the source database is: what a setting or a secret says, as one connection string of libpq."""

import json
import re
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from resources.sources.postgres_errors import SourceAddressError

_OPTIONS: dict[str, str | int] = {"application_name": "cippus", "connect_timeout": 10}
_URI = re.compile(r"postgres(ql)?://([^@/]*@)?[^@/?]*(/[^@?]*)?(\?.*)?", re.DOTALL)
"""A URI whose password ends where libpq ends it. Of one with a raw @ or /, libpq takes a part for a host or a port."""
_PORTS = re.compile(r"[0-9,]*")
_FIELDS = {"host": "host", "username": "user", "password": "password", "dbname": "dbname"}
"""Field of a secret of RDS → libpq's word for it."""


def of_setting(text: str, name: str) -> str:
    """A connection string or URI, checked. ``name`` says where it stands. Raises SourceAddressError."""
    text = text.strip()
    try:
        found = conninfo_to_dict(text)
    except psycopg.Error:  # its text quotes what it stumbles over: the password, as a rule
        found = {}
    is_uri_cut_elsewhere = "://" in text and _URI.fullmatch(text) is None
    if not found or is_uri_cut_elsewhere or not _PORTS.fullmatch(str(found.get("port") or "")):
        message = (
            f"{name} is no address of a database: expected is a connection string of libpq (host=… dbname=… user=… "
            "password=…) or postgresql://user:password@host:port/database, with % before the code of whatever is "
            "special in a password (%40 for @)."
        )
        raise SourceAddressError(message)
    return make_conninfo(text, **_OPTIONS)


def of_secret(text: str, name: str) -> str:
    """The same, or the JSON that Secrets Manager keeps of a login of RDS. Raises SourceAddressError."""
    fields = _fields(text)
    if fields is None:
        return of_setting(text, name)
    missing = [field for field in _FIELDS if not fields.get(field)]
    if missing:
        message = (
            f"{name} is JSON without {', '.join(missing)}: expected are host, port, username, password and dbname, or "
            "postgresql://user:password@host:port/database instead of JSON."
        )
        raise SourceAddressError(message)
    named = {option: str(fields[field]) for field, option in _FIELDS.items()}
    port = str(fields.get("port") or 5432)
    if not _PORTS.fullmatch(port):
        message = f"{name} is JSON with a port that is no number."
        raise SourceAddressError(message)
    return make_conninfo("", **named, port=port, **_OPTIONS)


def _fields(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
