"""The resource kinds, one file each; KINDS is their order in every plan and apply."""

from pkicode.kinds import ca, cert, crl, output, publication

KINDS = (ca.KIND, cert.KIND, crl.KIND, publication.KIND, output.KIND)
