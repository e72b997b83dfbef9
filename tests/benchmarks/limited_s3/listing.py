"""ListObjects and ListObjectsV2: pages in S3's order, with common prefixes."""

import base64
import binascii
from itertools import islice
from urllib.parse import quote

from tests.benchmarks.limited_s3.answers import Answer, Body, S3Error, element, xml
from tests.benchmarks.limited_s3.operations import iso_date
from tests.benchmarks.limited_s3.request import Request
from tests.benchmarks.limited_s3.store import Store, StoredObject

_MOST_KEYS = 1000


def list_objects_v2(store: Store, request: Request, _: Body) -> Answer:
    """A page behind a continuation token or ``start-after``."""
    query = request.query
    token = query.get("continuation-token")
    after = query.get("start-after", "") if token is None else _untoken(token)
    page, more = _page(store, request, after)
    inside = _described(request, page, more) + element("KeyCount", len(page))
    if token is not None:
        inside += element("ContinuationToken", token)
    if more:
        inside += element("NextContinuationToken", _token(page[-1][0]))
    return xml("ListBucketResult", inside)


def list_objects(store: Store, request: Request, _: Body) -> Answer:
    """A page behind a marker."""
    marker = request.query.get("marker", "")
    page, more = _page(store, request, marker)
    inside = _described(request, page, more) + element("Marker", marker)
    if more:
        inside += element("NextMarker", _encoded(request, page[-1][0]))
    return xml("ListBucketResult", inside)


def _page(store: Store, request: Request, after: str) -> tuple[list[tuple[str, StoredObject | None]], bool]:
    query = request.query
    text = query.get("max-keys", str(_MOST_KEYS))
    if not text.isdecimal():
        raise S3Error("InvalidArgument", "Provided max-keys not an integer or within integer range")
    most = min(int(text), _MOST_KEYS)
    found = store.bucket(request.bucket).pages_from(query.get("prefix", ""), after, query.get("delimiter", ""))
    page = list(islice(found, most + 1)) if most else []
    return page[:most], len(page) > most > 0


def _encoded(request: Request, key: str) -> str:
    return quote(key, safe="/") if request.query.get("encoding-type") == "url" else key


def _described(request: Request, page: list[tuple[str, StoredObject | None]], more: bool) -> str:
    query = request.query
    parts = [
        element("Name", request.bucket),
        element("Prefix", _encoded(request, query.get("prefix", ""))),
        element("MaxKeys", query.get("max-keys", _MOST_KEYS)),
        element("IsTruncated", str(more).lower()),
    ]
    if delimiter := query.get("delimiter"):
        parts.append(element("Delimiter", _encoded(request, delimiter)))
    if encoding := query.get("encoding-type"):
        parts.append(element("EncodingType", encoding))
    for name, stored in page:
        shown = _encoded(request, name)
        if stored is None:
            parts.append(f"<CommonPrefixes>{element('Prefix', shown)}</CommonPrefixes>")
            continue
        facts = element("LastModified", iso_date(stored.modified)) + f"<ETag>&quot;{stored.etag}&quot;</ETag>"
        size = element("Size", len(stored.body))
        parts.append(f"<Contents>{element('Key', shown)}{facts}{size}<StorageClass>STANDARD</StorageClass></Contents>")
    return "".join(parts)


def _token(marker: str) -> str:
    return base64.urlsafe_b64encode(marker.encode()).decode()


def _untoken(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, UnicodeError):
        raise S3Error("InvalidArgument", "The continuation token provided is incorrect") from None
