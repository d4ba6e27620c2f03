"""PKIs that rotate, cross-sign, answer OCSP and split their CRLs, a few weeks to a generation: what laws live with."""

from attrs import frozen

from tests.kinds.site import Site

_PKI = """
version = 1
[project]
name = "site"
[keystore.main]
type = "file"
passphrase = { file = ".pkicode/passphrase", create = true }
[publish.web]
url = "public"
base_url = "http://pki.corp.example"
content = ["ca", "crl", "ocsp", "bundle"]
[ca.root]
subject = { cn = "Rolling Root R${generation}" }
validity = "400d"
path_len = 2
overlap = "30d"
rotate = { every = "120d", prepublish = "14d" }
crl = { validity = "30d", refresh = "9d" }
publish = ["web"]
CROSSED
[ca.issuing]
issuer = "root"
subject = { cn = "Rolling Issuing A${generation}" }
validity = "90d"
path_len = 0
rotate = { every = "40d", prepublish = "7d" }
crl = { validity = "20d", refresh = "6d", shards = 2 }
ocsp = { url = "http://ocsp.corp.example", validity = "8d", refresh = "3d" }
publish = ["web"]
[profile.server]
issuer = "issuing"
eku = ["serverAuth"]
validity = "20d"
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
output = { chain = "out/portal.pem" }
[cert.app]
profile = "server"
for_each = { values = ["a", "b"] }
dns = ["${each.value}.corp.example"]
output = { chain = "out/${each.value}.pem" }
"""
_OLD = """cross_sign = ["old"]
[ca.old]
subject = { cn = "Old Root" }
validity = "300d"
path_len = 3
crl = { validity = "30d", refresh = "11d" }
publish = ["web"]
"""
_REVOKE = """
[[revoke]]
id = "retired-host"
cert = "cert.portal"
generation = 1
reason = "superseded"
"""


@frozen
class Rolling:
    """One such PKI, and what it has lived through."""

    crossed: bool = False
    """Whether the root is cross-signed by another one."""
    age: int = 0
    """Days since the first apply; 0: nothing is applied yet."""
    revoked: bool = False
    """Whether a [[revoke]] entry is written on the fifth day, and acted on if it is older."""
    rolled: int | None = None
    """The day on which somebody allowed the next root."""

    def live(self, site: Site) -> Site:
        """All that; an apply every five days."""
        text = _PKI.replace("CROSSED\n", _OLD if self.crossed else "")
        site.write(base=text)
        for day in range(0, self.age, 5):
            allowed = self.rolled is not None and day >= self.rolled
            site.apply(allow={"root-change": "root"} if allowed else {})
            site.later(5)
            if self.revoked and day == 0:
                site.write(base=text + _REVOKE)
        return site
