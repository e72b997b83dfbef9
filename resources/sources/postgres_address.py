"""Turn a setting or a secret into one libpq connection string."""

import json
import re

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from resources.sources.postgres_errors import SourceAddressError

_OPTIONS: dict[str, str | int] = {"application_name": "cippus", "connect_timeout": 10, "client_encoding": "UTF8"}
"""Texts come in UTF-8 from a database in any encoding, whatever the role or PGCLIENTENCODING says."""
_URI = re.compile(r"postgres(ql)?://([^@/]*@)?[^@/?]*(/[^@?]*)?(\?.*)?", re.DOTALL)
"""A URI whose password ends where libpq ends it. libpq reads part of a password with a raw @ or / as host or port."""
_PORTS = re.compile(r"[0-9,]*")
_FIELDS = {"host": "host", "username": "user", "password": "password", "dbname": "dbname"}
"""Field of an RDS secret → libpq parameter."""


def of_setting(text: str, name: str) -> str:
    """Return a checked connection string. ``name`` is the setting that holds it. Raise SourceAddressError."""
    text = text.strip()
    try:
        found = conninfo_to_dict(text)
    except psycopg.Error:  # the error text quotes the part that it cannot parse, often the password
        found = {}
    is_misread_uri = "://" in text and _URI.fullmatch(text) is None
    if not found or is_misread_uri or not _PORTS.fullmatch(str(found.get("port") or "")):
        raise SourceAddressError(
            f"{name} is not a database address; set a libpq connection string (host=… dbname=… user=… password=…) or "
            "postgresql://user:password@host:port/database, and percent-encode special characters of the password "
            "(%40 for @)."
        )
    return make_conninfo(text, **_OPTIONS)


def with_option(address: str, option: str) -> str:
    """Return a connection string whose sessions start with one more option of the server."""
    given = str(conninfo_to_dict(address).get("options") or "")
    return make_conninfo(address, options=f"{given} {option}".strip())


def of_secret(text: str, name: str) -> str:
    """Return a checked connection string from a DSN or from the JSON of an RDS secret. Raise SourceAddressError."""
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        return of_setting(text, name)
    missing = [field for field in _FIELDS if not fields.get(field)]
    if missing:
        raise SourceAddressError(
            f"{name} is JSON without {', '.join(missing)}; it must have host, port, username, password and dbname, or "
            "be postgresql://user:password@host:port/database instead of JSON."
        )
    port = str(fields.get("port") or 5432)
    if not _PORTS.fullmatch(port):
        raise SourceAddressError(f"{name} is JSON whose port is not a number; set it to a number such as 5432.")
    named = {option: str(fields[field]) for field, option in _FIELDS.items()}
    return make_conninfo("", **named, port=port, **_OPTIONS)
