"""`pkicode ocsp`: a tool for one question to any responder.  Needs no pki.toml and no state."""

from pathlib import Path

import click
from cryptography import x509

from pkicode.cli.files import FINDINGS
from pkicode.cli.options import certificate_der, formats
from pkicode.cli.session import Session, now, say, say_json
from pkicode.model.instants import rfc3339
from pkicode.model.problem import PkicodeError
from pkicode.views.table import listing

_SECONDS = 10


@click.group("ocsp")
def ocsp_command() -> None:
    """Ask OCSP responders."""


@ocsp_command.command("query")
@click.argument("certificate", type=click.Path(path_type=Path))
@click.argument("issuer", type=click.Path(path_type=Path))
@click.option("--url", metavar="URL", help="The responder; else the one that the certificate names.")
@click.option("--hash", "algorithm", type=click.Choice(["sha1", "sha256"]), default="sha1", show_default=True)
@formats("human", "json")
@click.pass_obj
def ocsp_query(session: Session, *, certificate: Path, issuer: Path, url: str | None, algorithm: str, form: str) -> int:
    """Ask whether CERTIFICATE, which ISSUER signed, is revoked, and verify the answer as a client must.

    Exit code 0: good; 3: revoked, or unknown to the responder.
    """
    from pkicode.adapters.fetch import fetch
    from pkicode.revocation.ocsp_request import cert_id, encode
    from pkicode.revocation.ocsp_response import LIMIT, verified
    from pkicode.x509.chain import verify_issued
    from pkicode.x509.tbs import facts_of

    leaf, above = (certificate_der(session.path(one)) for one in (certificate, issuer))
    try:
        verify_issued(leaf, above)
        loaded = x509.load_der_x509_certificate(leaf)
        asked = cert_id(facts_of(above), loaded.serial_number, algorithm)
        url = url or _responder(loaded)
        headers = {"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}
        got = fetch(url, limit=LIMIT, seconds=_SECONDS, body=encode(asked), headers=headers)
        answer = verified(got.data, asked, above, now=now())
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        message = f"no answer about {certificate} that can be relied on: {error}"
        raise PkicodeError(
            message, help="nothing is known of it: treat it as you treat a responder that is down"
        ) from error
    told = {
        "status": answer.status,
        "serial_number": f"{loaded.serial_number:x}",
        "revoked_at": None if answer.revoked_at is None else rfc3339(answer.revoked_at),
        "reason": answer.reason,
        "this_update": rfc3339(answer.this_update),
        "next_update": None if answer.next_update is None else rfc3339(answer.next_update),
        "responder": answer.responder,
        "url": url,
    }
    if form == "json":
        say_json({"format": "pkicode.ocsp", "version": "1.0", **told})
    else:
        say(listing((name, str(value)) for name, value in told.items() if value is not None))
    return 0 if answer.status == "good" else FINDINGS


def _responder(certificate: x509.Certificate) -> str:
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        access = x509.AuthorityInformationAccess([])
    for one in access:
        if one.access_method == x509.oid.AuthorityInformationAccessOID.OCSP:
            return str(one.access_location.value)
    raise PkicodeError("the certificate names no OCSP responder", help="say which: --url http://...")
