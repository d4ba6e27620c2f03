"""The resource kinds, one file each; KINDS is their order in every plan and apply."""

from pkicode.kinds import ca, cert, crl, ocsp, output, publication, revocation

KINDS = (ca.KIND, cert.KIND, revocation.KIND, crl.KIND, ocsp.KIND, publication.KIND, output.KIND)
