"""A scan on many machines: its parts as tasks of a dask cluster (`distributed`), with the pace shared out to them.

A worker gets targets and terms, and gives records back; whoever asked stores them.  Dask's messages are pickles: who
may talk to a scheduler runs code on its workers and its clients, so that beyond this machine only TLS will do.
"""

import asyncio
import logging
import os
import pickle
import platform
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from ipaddress import ip_address
from itertools import chain, islice
from typing import Any, Final

import dask
from attrs import define, evolve
from distributed import Client, Future, KilledWorker, Security, get_worker
from distributed.comm.addressing import parse_address, parse_host_port
from distributed.comm.core import connect
from distributed.versions import VersionMismatchWarning

from pkicode.adapters.scanning import opened
from pkicode.model.event import Event
from pkicode.model.problem import PkicodeError
from pkicode.model.version import VERSION
from pkicode.scanner.finding import Endpoint
from pkicode.scanner.terms import Job

Cluster = str | Client
"""The address of a scheduler, or a client that is connected to it."""

_PATIENCE: Final = 5
"""Seconds for the scheduler to answer."""
_LOOK_SECONDS: Final = 1.0
"""How often a worker looks whether anybody still wants what it does."""
_SAME_EVERYWHERE: Final = ("cryptography", "distributed")
"""What judges, and what carries: other releases would find other things, or nothing."""
_AGAIN: Final = "run the same command again: with -o it goes on where it stopped"


async def spread(
    cluster: Cluster,
    job: Job,
    parts: Iterable[tuple[int, Sequence[int]]],
    *,
    emit: Callable[[Event], None],
    jobs: int | None = None,
    before: int = 0,
) -> AsyncGenerator[tuple[int, list[Endpoint]]]:
    """As `scanning.here`, by the workers of a cluster: so many parts at once, in whatever order they are done.

    Each part has one of `jobs` equal shares of the rate, so that all limits hold however parts are put on workers: of
    everything, of each network and of each host.  A worker that dies takes its share with it, and whoever gets its
    part gets its share.

    Args:
        jobs: parts at once, if there are as many; as many as the workers have threads now.

    Raises:
        PkicodeError: there is no scheduler or no worker, or one that has another release, or they are gone for good.
    """
    async with _connected(cluster) as client:
        told, left = _Told(emit, before, len(job.targets)), iter(parts)
        first = [*islice(left, jobs if jobs else await asyncio.to_thread(_threads, client))]
        # Of shares that nobody takes nobody has anything.
        width, left = len(first), chain(first, left)
        waiting: set[asyncio.Task[tuple[int, list[Endpoint]]]] = set()
        try:
            while True:
                for number, numbers in islice(left, width - len(waiting)):
                    waiting.add(asyncio.create_task(_part(client, job, number, numbers, width)))
                if not waiting:
                    break
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    number, found = one.result()
                    told(found)
                    yield number, found
        finally:
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


@define
class _Told:
    """Records are told of when their part comes back."""

    _emit: Callable[[Event], None]
    _done: int
    _total: int

    def __call__(self, found: Iterable[Endpoint]) -> None:
        for one in found:
            self._done += 1
            self._emit(Event("scan", one.state, self._done, max(self._total, self._done), str(one.target)))


def _threads(client: Client) -> int:
    """How many tasks run at once.

    Raises:
        PkicodeError: none would.
    """
    found = sum(client.nthreads().values())
    if not found:
        raise PkicodeError(
            f"the scheduler {client.scheduler_info()['address']} has no workers",
            help="start some: dask worker ADDRESS --nthreads 1 --nworkers auto",
        )
    return int(found)


@asynccontextmanager
async def _connected(cluster: Cluster) -> AsyncIterator[Client]:
    if isinstance(cluster, Client):
        if cluster.asynchronous:
            raise PkicodeError("the client is an asynchronous one", help="give Client(address), or only the address")
        yield cluster
        return
    try:
        security = _security(cluster)
        # First by hand: a client that never comes to be complains for seconds while it is taken away.
        line = await connect(cluster, timeout=_PATIENCE, **security.get_connection_args("client"))
        await line.close()
        client = await asyncio.to_thread(_client, cluster, security)
    except (OSError, ValueError) as error:
        raise PkicodeError(
            f"no dask scheduler answers at `{cluster}`: {error}",
            help="start one (dask scheduler), and give the address that it tells, as in tls://10.0.0.5:8786",
        ) from error
    # It would tell with a stack of calls what is an error of ours in a line.
    log = logging.getLogger("distributed.client")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield client
    finally:
        await asyncio.to_thread(client.close)
        log.setLevel(before)


def _client(address: str, security: Security) -> Client:
    with warnings.catch_warnings():
        # What has to be the same is compared where it is used, and told in words.
        warnings.simplefilter("ignore", VersionMismatchWarning)
        return Client(address, security=security, timeout=_PATIENCE, set_as_default=False, name="pkicode-scan")


def _security(address: str) -> Security:
    """What dask's own configuration says of TLS.

    Raises:
        PkicodeError: whoever listens there, or on the way there, could run code on this machine.
        ValueError: it is no address.
    """
    scheme, rest = parse_address(address)
    security = Security()
    if scheme == "tls":
        if security.get_connection_args("client")["ssl_context"] is None:
            names = [f"DASK_DISTRIBUTED__COMM__TLS__{one}" for one in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY")]
            raise PkicodeError(
                f"`{address}` speaks TLS, and dask's configuration names no certificates",
                help=f"set {', '.join(names)} in the environment, or the same in dask's files",
            )
    elif not _is_here(parse_host_port(rest)[0]) and dask.config.get("distributed.comm.require-encryption") is not False:
        raise PkicodeError(
            f"`{address}` is neither encrypted nor authenticated: who answers there can run code on this machine",
            help="use tls://; or, where nobody else is on the network between,"
            " set DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=False",
        )
    return security


def _is_here(host: str) -> bool:
    """Whether whoever listens there is on this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


async def _part(
    client: Client, job: Job, number: int, numbers: Sequence[int], width: int
) -> tuple[int, list[Endpoint]]:
    """One part as one task, which is begun again elsewhere when its worker dies.

    Raises:
        PkicodeError: it will not come back.
    """
    # Pickled here, so that a worker with another release finds out before it reads what it does not know.
    given = pickle.dumps(evolve(job, targets=job.targets.some(numbers)))
    key = f"pkicode-scan-{job.scan_id}-{number}"
    task: Future[Any] = await asyncio.to_thread(
        partial(client.submit, in_cluster, versions(), given, width, key=_once(key), pure=False)
    )
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    task.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
    try:
        await ended.wait()
        if task.status == "cancelled":
            raise PkicodeError("the scheduler is gone", help=_AGAIN)
        found = await asyncio.to_thread(task.result)
    except KilledWorker as error:
        raise PkicodeError(
            f"part {number} was given up: {error}", help=f"look at what the workers say of it; then, {_AGAIN}"
        ) from error
    except PkicodeError:
        raise
    except Exception as error:
        # It is our own code that runs there; what it does not expect, it puts into records.
        first = str(error).partition("\n")[0]
        raise PkicodeError(
            f"a worker cannot scan: {type(error).__name__}: {first}",
            help=f"install pkicode {VERSION} with the same extras where the workers are",
        ) from error
    finally:
        # Also what still runs: the worker looks whether it is wanted.
        task.cancel()
    if isinstance(found, Mapping):
        raise PkicodeError(_differs(found), help="install the same releases here and where the workers are")
    return number, found


def _once(key: str) -> str:
    """What another run of the same scan has begun is not ours to wait for."""
    return f"{key}-{os.urandom(8).hex()}"


def versions() -> dict[str, str]:
    """What has to be the same on both ends."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"pkicode": VERSION, "python": python, **{name: version(name) for name in _SAME_EVERYWHERE}}


def _differs(theirs: Mapping[str, str]) -> str:
    told = [
        f"{name} {theirs.get(name, 'missing')} (here {ours})"
        for name, ours in versions().items()
        if theirs.get(name) != ours
    ]
    return f"the worker {theirs['worker']} has {', '.join(told)}"


def in_cluster(expected: Mapping[str, str], given: bytes, width: int) -> list[Endpoint] | Mapping[str, str]:
    """The records of a part; in a worker.  Where it has other releases than expected: those.

    Args:
        given: a job whose targets are those of the part, pickled.
        width: how many parts share the rate.
    """
    ours = versions()
    if ours != expected:
        return {**ours, "worker": get_worker().address}
    job: Job = pickle.loads(given)  # noqa: S301 - came with the pickle that called this
    tasks, key = get_worker().state.tasks, get_worker().get_current_task()
    return asyncio.run(_while_wanted(job, width, lambda: key in tasks and tasks[key].state == "executing"))


async def _while_wanted(job: Job, width: int, is_wanted: Callable[[], bool]) -> list[Endpoint]:
    """A task that runs is never stopped by dask: who killed a scan and begins it again would have it twice as fast."""
    async with opened(job, emit=lambda _event: None, jobs=1, share=width) as scanning:
        work = asyncio.create_task(scanning.part(range(len(job.targets))))
        while is_wanted():
            await asyncio.wait((work,), timeout=_LOOK_SECONDS)
            if work.done():
                return work.result()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return []
