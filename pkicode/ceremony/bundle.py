"""What is carried: the request to the machine with the key, the response back.  JSON, in one form and no other.

A file bears its digest, and is refused where that, or the way in which it is written, is another.  Whether it fits a
project is asked elsewhere.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import field, frozen

from pkicode.ceremony.words import words
from pkicode.model.instants import DAY, NO_EXPIRY
from pkicode.model.problem import PkicodeError

T = TypeVar("T", "Request", "Response")

LIMIT = 64 * 1024 * 1024
"""Octets of a file: a CRL of a million entries has 40 MB."""
LIFE = 30 * DAY
"""How long after its reservation something may be signed, and brought back."""
_REQUEST, _RESPONSE = "pkicode ceremony request", "pkicode ceremony response"
_VERSION = 1
_ITEMS_MOST = 1000


class BundleError(PkicodeError):
    """A file that is no request or response, or was altered."""


@frozen
class Item:
    """One thing to sign."""

    kind: str
    """`certificate` or `crl`."""
    address: str
    generation: int
    issuer: str
    """Label of the key that signs: `ca.root@1`."""
    issuer_certificate: bytes = field(repr=False)
    """DER; empty where the certificate signs itself."""
    tbs: bytes = field(repr=False)
    """TBSCertificate or TBSCertList, DER: what is signed, and nothing else."""
    lint: tuple[str, ...] = ()
    """What lint said of it where it was made."""


@frozen
class Request:
    """Everything that waits for one offline machine."""

    project: str
    lineage: str
    created: int
    expires: int
    """The last instant at which it may be signed, and what was signed brought back."""
    items: tuple[Item, ...]

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(_text(_request(self))).digest()

    @property
    def words(self) -> str:
        return words(self.digest)


@frozen
class Response:
    """A request with a signature for each of its items, in order."""

    request: Request
    signed_at: int
    """By the offline machine's clock."""
    signatures: tuple[bytes, ...] = field(repr=False)


def encode(one: Request | Response) -> bytes:
    """The file."""
    told = _request(one) if isinstance(one, Request) else _response(one)
    return _text({**told, "digest": hashlib.sha256(_text(told)).hexdigest()})


def decode_request(data: bytes) -> Request:
    """Raises BundleError."""
    return _decoded(data, _REQUEST, _request_of, "request")


def decode_response(data: bytes) -> Response:
    """Raises BundleError."""
    return _decoded(data, _RESPONSE, _response_of, "response")


def _decoded(data: bytes, form: str, read: Callable[[Mapping[str, Any]], T], what: str) -> T:
    try:
        if len(data) > LIMIT:
            raise ValueError(f"it has {len(data)} octets, more than {LIMIT}")
        told = json.loads(data)
        if not isinstance(told, dict) or (told.get("format"), told.get("version")) != (form, _VERSION):
            raise ValueError(f"it does not begin as one of version {_VERSION}")
        found = read(told)
        # One form only: what differs in a single octet, be it a space, is another file.
        if encode(found) != data:
            raise ValueError("it is not the one whose digest it bears")
    except (KeyError, TypeError, ValueError, RecursionError, binascii.Error) as error:
        raise BundleError(
            f"this is no {what} of a ceremony, or was altered: {error}",
            help="carry the file once more; if it is still so, export again and ask who had it in between",
        ) from error
    return found


def _request(one: Request) -> dict[str, Any]:
    return {
        "created": one.created,
        "expires": one.expires,
        "format": _REQUEST,
        "items": [
            {
                "address": item.address,
                "generation": item.generation,
                "issuer": item.issuer,
                "issuer_certificate": _base64(item.issuer_certificate),
                "kind": item.kind,
                "lint": list(item.lint),
                "tbs": _base64(item.tbs),
            }
            for item in one.items
        ],
        "lineage": one.lineage,
        "project": one.project,
        "version": _VERSION,
    }


def _request_of(told: Mapping[str, Any]) -> Request:
    if len(told["items"]) > _ITEMS_MOST:
        raise ValueError(f"it has {len(told['items'])} items, more than {_ITEMS_MOST}")
    items = tuple(
        Item(
            kind=_word(item["kind"], "certificate", "crl"),
            address=str(item["address"]),
            generation=_number(item["generation"]),
            issuer=str(item["issuer"]),
            issuer_certificate=base64.b64decode(item["issuer_certificate"], validate=True),
            tbs=base64.b64decode(item["tbs"], validate=True),
            lint=tuple(map(str, item["lint"])),
        )
        for item in told["items"]
    )
    created, expires = _number(told["created"]), _number(told["expires"])
    return Request(str(told["project"]), str(told["lineage"]), created, expires, items)


def _response(one: Response) -> dict[str, Any]:
    return {
        "format": _RESPONSE,
        "request": _request(one.request),
        "signatures": list(map(_base64, one.signatures)),
        "signed_at": one.signed_at,
        "version": _VERSION,
    }


def _response_of(told: Mapping[str, Any]) -> Response:
    request = _request_of(told["request"])
    signatures = tuple(base64.b64decode(one, validate=True) for one in told["signatures"])
    if len(signatures) != len(request.items):
        raise ValueError("it does not have one signature for each item")
    return Response(request, _number(told["signed_at"]), signatures)


def _word(word: str, *known: str) -> str:
    if word not in known:
        raise ValueError(f"`{word}` is none of {', '.join(known)}")
    return word


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= NO_EXPIRY:
        raise ValueError("one of its numbers is none that we write")
    return value


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _text(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, sort_keys=True, indent=1).encode("ascii") + b"\n"
