"""Who asks the targets of a scan: processes of this machine, or a dask cluster."""

from functools import partial
from typing import TYPE_CHECKING

from pkicode.adapters.scanning import Ask, here
from pkicode.model.problem import PkicodeError, installing

if TYPE_CHECKING:
    from pkicode.adapters.cluster import Cluster

ENGINES = ("local", "dask")


def engine(name: str, cluster: "Cluster | None" = None) -> Ask:
    """What `whole` and `into_folder` ask by.

    Args:
        name: one of ENGINES.
        cluster: of dask, its scheduler's address or a client.

    Raises:
        PkicodeError: no such engine, one that is not installed, or one without its cluster.
    """
    if name not in ENGINES:
        raise PkicodeError(f"there is no engine `{name}`", help=f"one of {', '.join(ENGINES)}")
    if (name == "dask") is (cluster is None):
        message = "a dask cluster is for the engine `dask`" if cluster else "the engine `dask` needs a cluster"
        raise PkicodeError(
            message, help="--engine dask --scheduler tls://HOST:8786, or in Python engine='dask', client=CLIENT"
        )
    if cluster is None:
        return here
    try:
        from pkicode.adapters.cluster import spread
    except ModuleNotFoundError as error:
        if error.name not in ("dask", "distributed"):
            raise
        raise PkicodeError(
            f"the engine `dask` needs {error.name}, which is not installed", help=installing("scan-dask")
        ) from error
    return partial(spread, cluster)
