"""A connection to a PostgreSQL server: verified, set up for a state, and its errors in words that say what to do."""

import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pkicode.config.state_url import Server
from pkicode.model.problem import PkicodeError, StateError, installing

try:
    import asyncpg
except ImportError as missing:
    raise StateError("a state in PostgreSQL needs the driver asyncpg", help=installing("postgres")) from missing

DRIVER = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Whatever the driver may raise."""
TWICE = asyncpg.CardinalityViolationError
"""One row was to be changed twice by one statement."""
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    OSError,
)
"""What says that this connection is of no use any more, and nothing of the state."""
_CLOSED = (asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What the driver says of a connection that is used when it is gone."""
LOCK_SECONDS = 30
"""How long a writer waits for another one's transaction, which takes milliseconds."""
_IDLE_SECONDS = 15
"""A writer that stands still within its transaction is let go of before anybody stops waiting for it."""
_CONNECT_SECONDS = 15
_COMMAND_SECONDS = 120
_SKEW_SECONDS = 60
_OLDEST = 130000


class NoState(FileNotFoundError):
    """The database can be reached, and holds no state of this name."""


_FACTS = (
    "SELECT current_setting('server_version_num')::bigint AS version, current_setting('synchronous_commit') AS commits,"
    " current_setting('fsync') AS fsync, current_setting('server_encoding') AS encoding,"
    " pg_is_in_recovery() AS replica, extract(epoch FROM clock_timestamp())::float8 AS clock"
)


async def connect(
    server: Server, password: Callable[[], Awaitable[str]], roots: str, read_only: object
) -> tuple[Any, int]:
    """A connection, and how many seconds the server's clock is ahead.

    Raises:
        StateError: what is written there could be lost, or the clocks differ.
    """
    settings = {
        "application_name": "pkicode",
        "search_path": f"{server.schema}, pg_temp",
        "lock_timeout": f"{LOCK_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{_IDLE_SECONDS}s",
        "default_transaction_read_only": "on" if read_only else "off",
        "jit": "off",  # it would compile the statement that looks for 250 values every time
        # What is looked for has an index; a table that grew since it was last analyzed would be read whole instead.
        "enable_seqscan": "off",
    }
    connection = await asyncpg.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        database=server.database,
        password=await password(),
        ssl=_tls(server, roots),
        timeout=_CONNECT_SECONDS,
        command_timeout=_COMMAND_SECONDS,
        target_session_attrs="any",
        server_settings=settings,
    )
    try:
        before = time.time()
        facts = await connection.fetchrow(_FACTS)
        skew = round(facts["clock"] - (before + time.time()) / 2)
        _refuse(server, facts, skew, writing=not read_only)
        if facts["commits"] == "off" and not read_only:
            await connection.execute("SET synchronous_commit = on")
    except BaseException:
        connection.terminate()
        raise
    # A clock is never read twice at one instant.
    return connection, skew if abs(skew) > 1 else 0


def _tls(server: Server, roots: str) -> ssl.SSLContext | bool:
    if server.sslmode == "disable":
        return False
    try:
        context = ssl.create_default_context(cafile=roots or None)
    except (OSError, ssl.SSLError) as error:
        raise StateError(f"sslrootcert cannot be read: {error}", help="name a PEM file in the project") from None
    context.check_hostname = server.sslmode == "verify-full"
    return context


def _refuse(server: Server, facts: Mapping[str, Any], skew: int, *, writing: bool) -> None:
    if facts["version"] < _OLDEST:
        raise StateError(f"{server} is older than PostgreSQL 13", help="upgrade the server")
    if facts["encoding"] != "UTF8":
        raise StateError(f"{server} stores {facts['encoding']}", help="make a database with ENCODING 'UTF8'")
    if not writing:
        return
    if facts["replica"]:
        raise StateError(f"{server} is a replica, which cannot be written to", help="name the primary in [state] url")
    if facts["fsync"] == "off":
        raise StateError(f"{server} runs with fsync = off: it would forget what it promised", help="set fsync = on")
    if abs(skew) > _SKEW_SECONDS:
        raise StateError(
            f"this machine's clock and that of {server} are {abs(skew)} s apart",
            help="set both; certificates dated by a wrong clock cannot be taken back",
        )


@contextmanager
def told(server: Server) -> Iterator[None]:
    """Turn the driver's errors into ours, which say what to do; the driver's is the cause."""
    try:
        yield
    except (PkicodeError, NoState):
        raise
    except DRIVER as error:
        raise _told(error, server) from error


def _told(error: Exception, server: Server) -> StateError:
    for kinds, message, mend in _WORDS:
        if isinstance(error, kinds):
            return StateError(message.format(server=server, error=_line(error), user=server.user), help=mend)
    return StateError(f"the state {server} failed: {_line(error)}", help="look at the server's log, then try again")


def _line(error: Exception) -> str:
    """The first line; details may repeat what a row holds."""
    if isinstance(error, _CLOSED):
        return "the connection ended"
    return (str(error) or type(error).__name__).splitlines()[0]


_WORDS: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError),
        "{server} does not let {user} in: {error}",
        "check [state] url and password; the server's pg_hba.conf says who may",
    ),
    ((asyncpg.InvalidCatalogNameError,), "{server}: {error}", "make the database, or name another in [state] url"),
    (
        (ssl.SSLCertVerificationError,),
        "the certificate of {server} is not to be trusted: {error}",
        "name the CA of the server with sslrootcert in [state] url",
    ),
    (
        (asyncpg.DiskFullError,),
        "the disk of the state {server} is full; nothing was written",
        "make room there, try again",
    ),
    (
        (asyncpg.LockNotAvailableError,),
        f"another process kept the state {{server}} locked for {LOCK_SECONDS} s; nothing was written",
        "try again; `pkicode state lock show` says who is writing",
    ),
    (
        (asyncpg.ReadOnlySQLTransactionError,),
        "the state {server} was opened for reading only; nothing was written",
        "name the primary in [state] url",
    ),
    (
        (asyncpg.InsufficientPrivilegeError,),
        "{user} may not do this in {server}: {error}",
        "`pkicode state roles` prints what each role is granted",
    ),
    (
        (asyncpg.IntegrityConstraintViolationError,),
        "the state {server} refused a row: {error}; nothing was written",
        "report this",
    ),
    (
        (asyncpg.SyntaxOrAccessError, asyncpg.DataCorruptedError),
        "the state {server} does not hold what it should: {error}",
        "`pkicode state verify` says what is wrong; `pkicode state restore BACKUP` brings back a good copy",
    ),
    (
        (*LOST, *_CLOSED),
        "the state {server} cannot be reached: {error}",
        "see that the server runs and that its port is open; what was done is in the state, apply again",
    ),
)
