"""[state] url: a SQLite file of the project, or a schema in a PostgreSQL database.  Opens nothing."""

import ipaddress
import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from attrs import frozen

from pkicode.config.wrong import WrongForm

_SQLITE = re.compile(r"sqlite:///([^\x00-\x1f?#]+)\Z")
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")
_OPTIONS = ("schema", "host", "sslmode", "sslrootcert")
_EXAMPLE = "write postgresql://USER@HOST/DATABASE, or sqlite:///.pkicode/state.db"


@frozen
class Server:
    """A schema in a database on a PostgreSQL server, and as whom it is opened.  Holds no secret."""

    host: str
    """A name, an address, or the folder of a Unix socket."""
    port: int
    user: str
    database: str
    schema: str
    sslmode: str
    """verify-full, verify-ca, or disable, which only a server on this machine may have."""
    sslrootcert: str
    """PEM file of the roots that vouch for the server, relative to the project; "" for the system's."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = f"/{self.database}?host={host}" if host.startswith("/") else f"{host}:{self.port}/{self.database}"
        return f"postgresql://{where}, schema {self.schema}"


def sqlite_path(url: str) -> str | None:
    """The path in a SQLite URL, relative to the project; None for a URL of another kind."""
    match = _SQLITE.match(url)
    return match[1] if match else None


def checked(url: str) -> str:
    """The URL, if it is one that a state can have.

    Raises:
        WrongForm: it is not, or it holds a password.
    """
    if not url.startswith("sqlite:"):
        server(url)
        return url
    if ".." in url.removeprefix("sqlite:///").split("/"):
        raise WrongForm("E0206", "the state stays inside the project", 'use url = "sqlite:///.pkicode/state.db"')
    if not sqlite_path(url):
        raise WrongForm("E0206", f"`{url}` is not a state URL", _EXAMPLE)
    return url


def server(url: str) -> Server:
    """What a postgresql:// URL says.

    Raises:
        WrongForm: something is missing, unknown or unsafe.
    """
    parts, port = _split(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - {*_OPTIONS}):
        raise WrongForm("E0206", f"a state URL has no option `{unknown[0]}`", f"there are {', '.join(_OPTIONS)}")
    host, user, database = parts.hostname or options.get("host", ""), unquote(parts.username or ""), parts.path[1:]
    if not host or not user or not database or "/" in database:
        raise WrongForm("E0206", f"`{url}` does not name user, host and database", _EXAMPLE)
    schema = options.get("schema", "pkicode")
    if not _IDENTIFIER.match(schema) or schema.startswith("pg_"):
        raise WrongForm("E0206", f"`{schema}` is no name of a schema", "lower-case letters, digits and _, at most 63")
    here = _is_here(host)
    sslmode = options.get("sslmode", "disable" if here else "verify-full")
    if sslmode not in ("verify-full", "verify-ca") and not (here and sslmode == "disable"):
        raise WrongForm(
            "E0214",
            f"sslmode={sslmode} does not tell the database from somebody in between",
            "use verify-full (the default), with sslrootcert=FILE where the server's CA is your own",
        )
    return Server(host, port, user, unquote(database), schema, sslmode, options.get("sslrootcert", ""))


def _split(url: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
        told = parts.password is not None or "password" in parts.query
    except ValueError as error:
        # Without the text, in which there may be a password.
        raise WrongForm("E0206", "this is not a URL that can be read", _EXAMPLE) from error
    if told:
        # Not even in the message: it ends in logs.
        raise WrongForm(
            "E0207",
            "a password stands in [state] url; a secret may only be pointed at",
            'take it out, write password = { env = "NAME" } beside it, and change the password',
        )
    if parts.scheme not in ("postgresql", "postgres") or parts.fragment or not url.isprintable():
        raise WrongForm("E0206", f"`{url}` is not a state URL", _EXAMPLE)
    return parts, port


def _is_here(host: str) -> bool:
    """Whether what is sent to this host stays on this machine."""
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
