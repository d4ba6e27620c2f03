"""HTTP fetches of octets that somebody else serves: with a limit on size and time, and no redirect followed."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import NamedTuple

from pkicode.model.problem import PkicodeError
from pkicode.model.version import VERSION


class Fetched(NamedTuple):
    """An answer with status 200, or 304 with no octets."""

    data: bytes
    etag: str
    status: int


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Refuse: where a stranger points to is nobody's business."""


def fetch(
    url: str, *, limit: int, seconds: float, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Fetched:
    """GET, or POST where there is a body; blocks.

    Raises:
        PkicodeError: no http URL, not reached in time, another status, or more than `limit` octets.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise PkicodeError(f"`{url}` is not an http URL", help="write http://... or https://...")
    told = {"User-Agent": f"pkicode/{VERSION}", **(headers or {})}
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        request = urllib.request.Request(url, data=body, headers=told)  # noqa: S310 - the scheme is checked above
        with opener.open(request, timeout=seconds) as answer:
            data, etag, status = answer.read(limit + 1), answer.headers.get("ETag", ""), answer.status
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 304:
            return Fetched(b"", error.headers.get("ETag", ""), 304)
        raise PkicodeError(f"{url} answers with HTTP status {error.code}", help="ask whoever runs it") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "reason", None) or error
        raise PkicodeError(f"{url} cannot be reached: {why}", help="check the URL and the network") from error
    if len(data) > limit:
        raise PkicodeError(f"{url} sends more than {limit} octets", help="it is not what was asked for")
    if status != 200:
        raise PkicodeError(f"{url} answers with HTTP status {status}", help="ask whoever runs it")
    return Fetched(data, etag, status)
