"""Who holds a lease: this process on this host, and whether another one still lives.

Fencing epochs, not this, keep a woken process from writing; this only spares the next one the wait for a dead one.
"""

import os
import re

from pkicode.ports import Lease


def here() -> str:
    """This host, for a lease; with the number of the process namespace where pids are not the host's own."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux: one namespace
        return os.uname().nodename
    inner = re.sub(r"\D", "", namespace)
    # 0xEFFFFFFC is the namespace of init (PROC_PID_INIT_INO in linux/proc_ns.h).
    return os.uname().nodename if inner == str(0xEFFFFFFC) else f"{os.uname().nodename}/{inner}"


def is_dead(lease: Lease) -> bool:
    """Whether the process that took the lease is known to be gone; on another host nobody knows."""
    return lease.host == here() and is_gone(lease.pid)


def is_gone(process: int) -> bool:
    """Whether no process here has this number, be it another's by now."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False
