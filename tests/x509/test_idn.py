"""Labels that begin with xn--: what IDNA registers passes, what stands for nothing is refused with the reason."""

import idna
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pkicode.x509 import idn, names

WRONG = [
    ("dns", "xn--zzzz.example", "does not decode"),
    ("dns", "*.a.xn--99999999.example", "does not decode"),
    ("dns", "xn--a.example", "cannot be seen"),
    ("dns", "xn--e-xbb.example", "it is `xn--9ca`"),
    ("email", "a@xn--zzzz.example", "does not decode"),
    ("uri", "https://xn--zzzz.example:8443/a", "does not decode"),
]


@pytest.mark.parametrize(("kind", "text", "reason"), WRONG)
def test_a_label_that_stands_for_nothing_is_refused_with_the_reason(kind: str, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        idn.check(names.san(kind, text))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("dns", "xn--bcher-kva.example"),
        ("dns", "*.xn--strae-oqa.example"),
        ("dns", "axn--zzzz.example"),
        ("email", "xn--zzzz@example.org"),
        ("uri", "https://a.example/xn--zzzz"),
        ("uri", "urn:xn--zzzz"),
        ("upn", "xn--zzzz@corp.example"),
    ],
)
def test_labels_of_idna_2008_pass_and_nothing_but_a_hosts_label_is_one(kind: str, text: str) -> None:
    idn.check(names.san(kind, text))


@given(st.text(st.characters(categories=["Ll", "Lo", "Mn", "Nd"]), min_size=1, max_size=12))
def test_what_another_implementation_registers_passes(text: str) -> None:
    try:
        label = idna.alabel(text).decode("ascii")
    except idna.IDNAError:
        assume(False)
    idn.check(names.san("dns", f"{label}.example"))


@given(st.from_regex(r"xn--[a-z0-9-]{0,58}[a-z0-9]", fullmatch=True))
def test_what_is_refused_another_implementation_refuses_too(label: str) -> None:
    try:
        idn.check(names.san("dns", f"{label}.example"))
    except ValueError:
        with pytest.raises(idna.IDNAError):
            idna.ulabel(label)
