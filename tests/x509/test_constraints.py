"""Name constraints: our verdict at plan time is that of OpenSSL, GnuTLS and Java on the issued certificate."""

import base64
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import evolve
from cryptography import x509
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from pkicode.model.instants import NO_EXPIRY
from pkicode.model.names import SanType
from pkicode.x509 import names
from pkicode.x509.constraints import Allow, Constraints, allowed, effective, read, verdict, wider
from pkicode.x509.pem import encode
from pkicode.x509.profile import Profile
from tests.oracles import Refused, assert_gnutls_verifies, assert_verifies
from tests.x509.pki import CA, NOW, make

HOSTS = ["corp.example", "a.corp.example", "b.a.corp.example", "xcorp.example", "evil.example", "example"]
BASES = ["corp.example", "a.corp.example", "evil.example"]
DOTTED = [f".{base}" for base in BASES]
ADDRESSES = ["10.1.2.3", "10.200.0.1", "192.0.2.7", "2001:db8::7", "2001:db9::1"]
NETWORKS = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "2001:db8::/32"]
WIDE = {"begins": 1_600_000_000, "ends": NO_EXPIRY}


def _some(values, most=2):
    return st.lists(st.sampled_from(values), max_size=most, unique=True).map(tuple)


mail_bases = [*BASES, *DOTTED, "who@corp.example"]
constraints = st.builds(
    Constraints,
    permit_dns=_some(BASES),
    exclude_dns=_some(BASES, 1),
    permit_ip=_some(NETWORKS),
    exclude_ip=_some(NETWORKS, 1),
    permit_email=_some(mail_bases),
    exclude_email=_some(mail_bases, 1),
    permit_uri=_some([*BASES, *DOTTED]),
    exclude_uri=_some([*BASES, *DOTTED], 1),
).filter(lambda found: not found.check())
dns = st.sampled_from([*HOSTS, *(f"*.{host}" for host in HOSTS if "." in host)]).map(lambda text: ("dns", text))
ip = st.sampled_from(ADDRESSES).map(lambda text: ("ip", text))
email = st.builds(
    lambda who, host: ("email", f"{who}@{host}"), st.sampled_from(["who", "Who", "x"]), st.sampled_from(HOSTS)
)
uri = st.sampled_from(HOSTS).map(lambda host: ("uri", f"spiffe://{host}/x"))
odd = st.sampled_from(
    [
        ("uri", "urn:uuid:1"),
        ("uri", "https://10.1.2.3/"),
        ("rid", "1.2.3"),
        ("upn", "u@corp.example"),
        ("dirname", "CN=x"),
    ]
)
usual = st.lists(dns | ip | email | uri, min_size=1, max_size=2, unique=True).map(
    lambda found: tuple(names.san(*each) for each in found)
)
unusual = st.lists(dns | ip | email | uri | odd, min_size=1, max_size=2, unique=True).map(
    lambda found: tuple(names.san(*each) for each in found)
)
chains = st.lists(constraints, min_size=1, max_size=2)
subjects = st.sampled_from(
    [
        (("o", "Corp"),),
        (("cn", "Two words"),),
        (("cn", "portal"),),
        (("cn", "a.corp.example"),),
        (("cn", "evil.example"),),
        (("cn", "10.1.2.3"),),
        (("o", "Corp"), ("email", "who@evil.example")),
        (("o", "Corp"), ("email", "who@corp.example")),
    ]
)


@pytest.fixture(scope="module")
def anchor():
    return make(Profile(is_ca=True, usage=CA), cn="Anchor", **WIDE)


def _issue(anchor, chain, subject, sans):
    """The leaf and its intermediates, nearest first; each intermediate has one of the constraints."""
    issuer, middle = anchor, []
    for depth, each in enumerate(chain):
        issuer = make(
            Profile(is_ca=True, usage=CA, constraints=each),
            cn="",
            issuer=issuer,
            **WIDE,
            subject=(("o", f"Issuing {depth}"),),
        )
        middle.insert(0, issuer.der)
    leaf = make(Profile(), cn="", subject=subject, sans=sans, issuer=issuer, **WIDE)
    return leaf.der, middle


def _pem(leaf, middle, root):
    return (
        encode("CERTIFICATE", leaf),
        [encode("CERTIFICATE", each) for each in middle],
        encode("CERTIFICATE", root.der),
    )


def _accepts(leaf, middle, root):
    try:
        assert_verifies(leaf, chain=middle, root=root, at=NOW)
    except Refused as error:
        if "subtree violation" not in str(error) and "unsupported" not in str(error):
            raise
        return False
    return True


def _stricter(chain, sans, subject):
    """Where we refuse what OpenSSL 3.0 lets through, on purpose."""
    has_dns = any(kind is SanType.DNS for kind, _ in sans)
    cn = dict(subject).get("cn", "")
    wild = any(text == f"*.{base.partition('.')[2]}" for _, text in sans for each in chain for base in each.exclude_dns)
    # OpenSSL looks at a common name only where there is no dNSName, takes an address for a host there, and never looks
    # at a single label.
    return wild or (has_dns and names.looks_like_host(cn)) or cn in {"portal", "10.1.2.3"}


@settings(max_examples=60)
@given(said=constraints)
def test_constraints_are_read_from_a_certificate_as_they_were_written(anchor, said):
    profile = Profile(is_ca=True, usage=CA, constraints=said)
    made = make(profile, cn="Constrained", issuer=anchor, **WIDE)
    found = read(x509.load_der_x509_certificate(made.der))
    assert found == (None if said.is_empty else said)


@settings(max_examples=60)
@given(chain=chains, subject=subjects, sans=usual)
def test_openssl_says_of_the_issued_certificate_what_the_plan_said(anchor, chain, subject, sans):
    assume(not _stricter(chain, sans, subject))
    leaf, middle = _issue(anchor, chain, subject, sans)
    said = verdict(subject, sans, chain)
    event("refused" if said else "allowed")
    assert _accepts(*_pem(leaf, middle, anchor)) == (not said), said


@settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much])
@given(chain=chains, subject=subjects, sans=unusual)
def test_what_the_plan_lets_through_openssl_and_gnutls_accept(anchor, chain, subject, sans):
    assume(not verdict(subject, sans, chain))
    leaf, middle, root = _pem(*_issue(anchor, chain, subject, sans), anchor)
    assert_verifies(leaf, chain=middle, root=root, at=NOW)
    # GnuTLS 3.7: without a dNSName any common name, even two words, is held against the constraints on hosts, and
    # an excluded URI refuses every URI.
    has_dns, has_uri = ("dns" in {kind for kind, _ in sans}), ("uri" in {kind for kind, _ in sans})
    if (has_dns or "cn" not in dict(subject)) and not (has_uri and any(each.exclude_uri for each in chain)):
        assert_gnutls_verifies(leaf, chain=middle, root=root)


@pytest.fixture(scope="module")
def java():
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    source = Path(__file__).with_name("PathCheck.java")
    with subprocess.Popen(["java", str(source)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def check(*certificates):
            text = " ".join([str(NOW), *(base64.b64encode(each).decode() for each in certificates)])
            process.stdin.write(text + "\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield check
        process.stdin.close()


def _excluding(constraints):
    return evolve(constraints, permit_dns=(), permit_ip=(), permit_email=(), permit_uri=())


@pytest.mark.heavy
@settings(max_examples=300, suppress_health_check=[HealthCheck.filter_too_much])
@given(chain=chains, subject=subjects, sans=unusual)
def test_java_says_of_the_issued_certificate_what_the_plan_said(anchor, java, chain, subject, sans):
    assume(not any(wider(below, above) for above, below in pairwise(chain)))
    # Where a CA excludes all that one above it permits, Java 17 forgets both; where it closes a type that the one
    # above permits, Java refuses every name (the empty intersection is a name it cannot make).
    assume(not any(wider(above, _excluding(below)) for above, below in pairwise(chain)))
    assume(not any(set(below.closed) - set(above.closed) for above, below in pairwise(chain) if above.permits_some))
    leaf, middle = _issue(anchor, chain, subject, sans)
    said, java_said = verdict(subject, sans, chain), java(anchor.der, leaf, *middle)
    if not said:
        assert java_said == "OK"
    elif java_said == "OK":
        event("stricter than Java")
        cn, kinds = dict(subject).get("cn", ""), {kind for kind, _ in sans}
        odd = {"urn:uuid:1", "https://10.1.2.3/"} & {text for _, text in sans}
        untold = "dns" in kinds and cn
        assert (
            kinds & {"rid", "upn", "dirname"}
            or odd
            or untold
            or "email" in dict(subject)
            or cn == "10.1.2.3"
            or (_stricter(chain, sans, subject))
        )


@pytest.mark.parametrize(
    "name", [("ip", "8.8.8.8"), ("ip", "2001:db8::1"), ("email", "a@evil.example"), ("uri", "spiffe://evil.example/x")]
)
def test_a_permit_of_hosts_closes_every_other_type_in_openssl_too(anchor, name):
    closed = Constraints(permit_dns=("corp.example",))
    sans = (names.san("dns", "a.corp.example"), names.san(*name))
    assert verdict((), sans, [closed]) == [f"`{name[0]}:{name[1]}` is of a type that the CA does not permit"]
    leaf, middle = _issue(anchor, [closed], (), sans)
    with pytest.raises(Refused, match="subtree violation"):
        assert_verifies(leaf, chain=middle, root=anchor.der, at=NOW)
    if name[0] != "uri":  # GnuTLS 3.7 knows no constraints on URIs
        with pytest.raises(Refused):
            assert_gnutls_verifies(leaf, chain=middle, root=anchor.der)


@pytest.mark.parametrize("name", [("rid", "1.2.3"), ("upn", "a@corp.example"), ("dirname", "CN=x")])
def test_types_that_no_extension_can_close_are_closed_by_the_plan(name):
    sans = (names.san(*name),)
    assert verdict((), sans, [Constraints(permit_dns=("corp.example",))])
    assert not verdict((), sans, [Constraints(exclude_dns=("evil.example",))])


def test_a_permit_of_one_address_family_closes_the_other():
    both = Constraints(*[("a.example",), ()], ("10.0.0.0/8", "2001:db8::/32"), (), ("a.example",), (), ("a.example",))
    assert effective(Constraints(permit_ip=("10.0.0.0/8",))).permit_ip == ("10.0.0.0/8", "::/128")
    assert effective(both) == both


def test_a_wildcard_that_covers_an_excluded_host_is_refused():
    sans = (names.san("dns", "*.corp.example"),)
    assert verdict((), sans, [Constraints(exclude_dns=("secret.corp.example",))])
    assert not verdict((), sans, [Constraints(exclude_dns=("x.secret.corp.example",))])


@pytest.mark.parametrize(
    ("constraints", "reason"),
    [
        (Constraints(permit_dns=(".corp.example",)), "permit_dns: `.corp.example`: two dots"),
        (Constraints(permit_dns=("*.corp.example",)), "permit_dns"),
        (Constraints(permit_dns=("Corp.Example",)), "write `corp.example`"),
        (Constraints(exclude_ip=("10.0.0.1/8",)), "write `10.0.0.0/8`"),
        (Constraints(permit_ip=("ten",)), "not a network"),
        (Constraints(permit_email=("@corp.example",)), "mailbox"),
        (Constraints(exclude_uri=("http://a.example/",)), "exclude_uri"),
        (Constraints(permit_dns=("a.example",), exclude_dns=("example",)), "permits nothing"),
    ],
)
def test_a_wrong_base_is_told_by_its_field(constraints, reason):
    (problem,) = constraints.check()
    assert reason in problem


UPPER = Constraints(
    permit_dns=("corp.example",),
    permit_ip=("10.0.0.0/8",),
    permit_email=("corp.example", ".a.example"),
    permit_uri=(".corp.example",),
)


@pytest.mark.parametrize(
    ("lower", "inside"),
    [
        (Constraints(permit_dns=("corp.example",)), True),
        (Constraints(permit_dns=("a.corp.example",)), True),
        (Constraints(permit_dns=("xcorp.example",)), False),
        (Constraints(permit_dns=("example",)), False),
        (Constraints(permit_ip=("10.1.0.0/16",)), True),
        (Constraints(permit_ip=("0.0.0.0/0",)), False),
        (Constraints(permit_ip=("2001:db8::/32",)), False),
        (Constraints(permit_email=("who@corp.example",)), True),
        (Constraints(permit_email=("corp.example",)), True),
        (Constraints(permit_email=(".corp.example",)), False),
        (Constraints(permit_email=("b.a.example",)), True),
        (Constraints(permit_email=("who@b.a.example",)), True),
        (Constraints(permit_email=("a.example",)), False),
        (Constraints(permit_uri=("a.corp.example",)), True),
        (Constraints(permit_uri=(".a.corp.example",)), True),
        (Constraints(permit_uri=("corp.example",)), False),
        (Constraints(exclude_dns=("corp.example",)), True),
    ],
)
def test_a_ca_below_permits_nothing_that_its_issuer_does_not(lower, inside):
    assert (wider(lower, UPPER) == []) == inside
    assert wider(lower, Constraints(exclude_dns=("evil.test",))) == []


def test_a_ca_below_permits_nothing_that_its_issuer_excludes():
    assert "excluded as well" in wider(UPPER, Constraints(exclude_dns=("example",)))[0]


ALLOW = Allow(
    dns=("portal.example", ".corp.example"),
    ip=("10.0.0.0/8",),
    email=("boss@a.example", "@b.example", ".c.example"),
    uri=("spiffe://corp.example/", "urn:one"),
)


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        (("dns", "portal.example"), True),
        (("dns", "x.portal.example"), False),
        (("dns", "corp.example"), False),
        (("dns", "x.corp.example"), True),
        (("dns", "x.y.corp.example"), True),
        (("dns", "evilcorp.example"), False),
        (("dns", "*.corp.example"), False),
        (("ip", "10.9.9.9"), True),
        (("ip", "11.0.0.1"), False),
        (("ip", "2001:db8::1"), False),
        (("email", "boss@a.example"), True),
        (("email", "x@a.example"), False),
        (("email", "x@b.example"), True),
        (("email", "x@y.b.example"), False),
        (("email", "x@y.c.example"), True),
        (("email", "x@c.example"), False),
        (("uri", "spiffe://corp.example/a"), True),
        (("uri", "spiffe://corp.example.evil.example/a"), False),
        (("uri", "urn:one"), True),
        (("uri", "urn:one2"), False),
        (("rid", "1.2.3"), False),
        (("upn", "a@b"), False),
        (("dirname", "CN=x"), False),
    ],
)
def test_an_allow_list_is_anchored_and_lets_no_other_type_through(name, passes):
    assert (allowed((names.san(*name),), ALLOW) == []) == passes


def test_a_wildcard_needs_to_be_allowed():
    sans = (names.san("dns", "*.corp.example"),)
    assert "no wildcard" in allowed(sans, Allow(dns=(".corp.example",)))[0]
    assert allowed(sans, Allow(dns=(".corp.example",), wildcard=True)) == []


@pytest.mark.parametrize(
    "allow",
    [
        Allow(dns=("*.a.example",)),
        Allow(dns=("A.example",)),
        Allow(ip=("10.0.0.1/8",)),
        Allow(email=("@",)),
        Allow(uri=("corp.example/",)),
    ],
)
def test_a_wrong_entry_of_an_allow_list_is_told(allow):
    (problem,) = allow.check()
    assert problem.startswith("allow.")
