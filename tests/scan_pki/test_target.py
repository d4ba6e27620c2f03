"""Target texts: what they mean, what is wrong with the others, and that a /8 is not a list."""

import sys

import pytest

from pkicode.model import target as texts
from pkicode.model.address import Address
from pkicode.model.problem import Place
from pkicode.model.target import FileOf
from pkicode.scanner.finding import Target
from pkicode.scanner.target import MOST_OCTETS, Targets, is_private, targets

HERE = Place("pki.toml", ("scan", "edge", "targets", 0))


def found(*given, files=None, declared=None):
    """Targets and problems of texts."""

    def read(path):
        if path not in (files or {}):
            raise FileNotFoundError(2, "No such file or directory")
        return files[path]

    def endpoints(address):
        if str(address) not in (declared or {}):
            raise LookupError(f"there is no [{address}]")
        return declared[str(address)]

    return targets([(text, HERE) for text in given], read=read, endpoints=endpoints)


def only(text, **more):
    """The one target of a text."""
    there, problems = found(text, **more)
    assert not problems
    (one,) = there
    return one


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("portal.example", Target("portal.example", "", 443, "", "portal.example")),
        (" Portal.Example.:8443 ", Target("portal.example", "", 8443, "", "portal.example")),
        ("192.0.2.7", Target("192.0.2.7", "192.0.2.7", 443)),
        ("2001:db8::1", Target("2001:db8::1", "2001:db8::1", 443)),
        ("[2001:DB8:0::1]:636", Target("2001:db8::1", "2001:db8::1", 636)),
        ("mail.example:25", Target("mail.example", "", 25, "smtp", "mail.example")),
        ("mail.example/imap", Target("mail.example", "", 143, "imap", "mail.example")),
        ("db.example:6432/postgres", Target("db.example", "", 6432, "postgres", "db.example")),
        ("db.example:5432/tls", Target("db.example", "", 5432, "", "db.example")),
        ("cert.example:443", Target("cert.example", "", 443, "", "cert.example")),
        ("198.51.100.4/32", Target("198.51.100.4", "198.51.100.4", 443)),
        ("localhost", Target("localhost", "", 443, "", "localhost")),
    ],
)
def test_a_text_means_one_target(text, target):
    assert only(text) == target


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no host"),
        (":443", "there is no host"),
        ("https://portal.example/", "is a URL"),
        ("portal.example:0", "no port"),
        ("portal.example:65536", "no port"),
        ("portal.example:", "no port"),
        ("portal.example:４４３", "no port"),
        ("portal.example/gopher", "no protocol"),
        ("[2001:db8::1", "brackets"),
        ("[2001:db8::1]443", "brackets"),
        ("10.0.0.256", "is no address"),
        ("10.0.0.1/24", "write 10.0.0.0/24"),
        ("10.0.0.0/33", "no network"),
        ("0.0.0.0/0", "write a /8"),
        ("2001:db8::/64", "write a /104"),
        ("bücher.example", "A-label"),
        ("fe80::1%eth0", "zone index"),
        ("por tal.example", "neither a host name"),
        ("-portal.example", "neither a host name"),
        ("a" * 64 + ".example", "neither a host name"),
        ("a" * 2000, "at most 1024"),
        ("portal.example\x00.evil", "neither a host name"),
        ("cert.portal@2", "generation"),
        ("@", "path of a file"),
    ],
)
def test_what_is_no_target_says_how_to_write_one(text, said):
    there, (problem,) = found(text)
    assert len(there) == 0
    assert (problem.code, problem.place) == ("E0350", HERE)
    assert said in problem.message
    assert len(problem.message) < 250


def test_files_and_certificates_are_told_from_hosts():
    assert texts.read("@hosts.txt") == FileOf("hosts.txt")
    assert texts.read('cert.fleet["a.b:c"]') == Address("cert", "fleet", "a.b:c")
    assert texts.read("cert.corp.example").host == "cert.corp.example"


def test_a_network_has_its_hosts_in_order_and_leaves_out_what_is_nobodys():
    there, _ = found("10.20.0.0/30:8443", "10.9.0.0/31", "10.8.0.1/32")
    assert [one.address for one in there] == ["10.20.0.1", "10.20.0.2", "10.9.0.0", "10.9.0.1", "10.8.0.1"]
    assert [one.port for one in there] == [8443, 8443, 443, 443, 443]
    assert there[1] == Target("10.20.0.2", "10.20.0.2", 8443)


def test_a_slash_8_is_counted_and_not_listed():
    there, _ = found("10.0.0.0/8", "portal.example")
    assert len(there) == 2**24 - 2 + 1
    assert there[0].address == "10.0.0.1"
    assert there[2**24 - 3].address == "10.255.255.254"
    assert there[2**24 - 2].host == "portal.example"
    assert sys.getsizeof(there.spots) < 200
    for number in (2**24 - 1, -1):
        with pytest.raises(IndexError):
            there[number]


def test_more_targets_than_one_scan_takes_are_refused():
    there, (problem,) = found(*(f"{first}.0.0.0/8" for first in range(20, 26)))
    assert len(there) == 0
    assert problem.code == "E0353"


def test_what_is_meant_twice_is_scanned_once():
    there, problems = found(
        "10.0.0.0/24", "10.0.0.5", "10.0.0.0/28", "10.0.0.5:8443", "a.example", "A.example:443", "10.0.0.0/24"
    )
    assert not problems
    assert len(there) == 254 + 2
    assert [str(one) for one in there][-2:] == ["10.0.0.5:8443", "a.example:443"]


def test_an_address_that_is_nobodys_in_a_network_around_it_is_scanned_where_it_is_named():
    there, _ = found("10.0.0.0/24", "10.0.0.0", "10.0.0.255", "10.0.0.7", "10.0.1.0/24", "10.0.1.254/31", "10.0.1.2/31")
    assert [str(one) for one in there][254:256] == ["10.0.0.0:443", "10.0.0.255:443"]
    assert [str(one) for one in there][256 + 254 :] == ["10.0.1.254:443", "10.0.1.255:443"]
    there, _ = found("10.0.0.0/31", "10.0.0.1")
    assert len(there) == 2


def test_many_networks_are_held_against_each_other_in_less_than_a_lifetime():
    """Each compared with each was a hang: the square of what a list of subnets has."""
    many = [f"10.{number >> 14}.{number >> 6 & 255}.{number % 64 * 4}/30" for number in range(50_000)]
    there, problems = found(*many, "10.0.0.0/24")
    assert not problems
    assert len(there) == 2 * (50_000 - 64) + 254


def test_a_file_has_a_target_a_line_and_comments():
    text = b"\xef\xbb\xbf# hosts\nportal.example  # the portal\n\n10.0.0.0/30\nbad host\n@more.txt\n"
    there, problems = found("@hosts.txt", files={"hosts.txt": text})
    assert [str(one) for one in there] == ["portal.example:443", "10.0.0.1:443", "10.0.0.2:443"]
    assert [(one.code, one.place) for one in problems] == [
        ("E0350", Place("hosts.txt", line=5)),
        ("E0351", Place("hosts.txt", line=6)),
    ]


def test_a_csv_has_columns_and_may_ask_for_another_name():
    text = (
        b"host,port,starttls,server_name\n10.0.0.9,8443,,portal.example\n2001:db8::9,,,\nmx.example,,smtp,\nx,y,,\nz\n"
    )
    there, problems = found("@fleet.csv", files={"fleet.csv": text})
    assert list(there) == [
        Target("10.0.0.9", "10.0.0.9", 8443, "", "portal.example"),
        Target("2001:db8::9", "2001:db8::9", 443),
        Target("mx.example", "", 25, "smtp", "mx.example"),
    ]
    assert [(one.code, one.place.line) for one in problems] == [("E0350", 5), ("E0351", 6)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"name,port\na,1\n", "its columns must be host"),
        (b"host,host\na,b\n", "its columns must be host"),
        (b'host\n"a\n', "it is no CSV"),
        (b"\xff\xfe", "cannot be read"),
        (b"a" * (MOST_OCTETS + 1), "more than"),
    ],
    ids=["columns", "twice", "quote", "utf-8", "large"],
)
def test_a_file_that_is_none_is_told_with_its_place(data, said):
    there, (problem,) = found("@fleet.csv", files={"fleet.csv": data})
    assert len(there) == 0
    assert problem.code == "E0351"
    assert said in problem.message


def test_a_file_that_is_not_there_is_told_where_it_was_named():
    _, (problem,) = found("@hosts.txt")
    assert (problem.code, problem.place, problem.message) == (
        "E0351", HERE, "`hosts.txt` cannot be read: No such file or directory",
    )  # fmt: skip


def test_a_wrong_file_is_not_told_in_every_line():
    _, problems = found("@hosts.txt", files={"hosts.txt": b"not a host\n" * 5000})
    assert len(problems) == 100


def test_a_certificate_stands_for_its_endpoints():
    declared = {"cert.portal": ["portal.example:443", "[2001:db8::1]:8443"], "cert.quiet": [], "cert.odd": ["a b"]}
    there, problems = found("cert.portal", "cert.quiet", "cert.odd", "cert.none", declared=declared)
    assert [str(one) for one in there] == ["portal.example:443", "[2001:db8::1]:8443"]
    assert [one.code for one in problems] == ["E0352", "E0350", "E0352"]
    assert "cert.odd" in problems[1].message


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "127.0.0.1", "169.254.169.254", "192.168.0.1", "172.31.0.1", "0.0.0.0", "100.64.0.1", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:10.0.0.1",
        "64:ff9b::a00:1", "2002:a00:1::", "2001:db8::1", "240.0.0.1", "198.18.0.1", "fec0::1", "::10.0.0.1",
        "64:ff9b:1::808:808", "5f00::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_of_the_public_internet_is_private(address):
    assert is_private(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_public_address_is_not_private(address):
    assert not is_private(address)


def test_whether_a_name_is_private_nobody_can_say():
    with pytest.raises(ValueError, match="localhost"):
        is_private("localhost")


def test_a_digest_is_of_the_targets_and_not_of_how_they_were_written():
    written = [found("10.0.0.0/24:443", "a.example"), found("10.0.0.0/24", "A.example.:443", "10.0.0.7")]
    assert len({there.digest() for there, _ in written}) == 1
    others = (
        ("a.example", "10.0.0.0/24"), ("10.0.0.0/25", "a.example"), ("10.0.0.0/24", "a.example:8443"),
        ("10.0.0.0/24", "a.example/smtp"),
    )  # fmt: skip
    assert len({found(*one)[0].digest() for one in others} | {written[0][0].digest()}) == 5


def test_no_targets_are_an_empty_scan():
    assert list(Targets(())) == []
