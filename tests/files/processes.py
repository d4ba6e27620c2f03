"""Whether processes that are not our children have ended."""

import os
import select


def ends(pid: int) -> bool:
    """Wait until the process is dead, be it a zombie that nobody has waited for; False when it lives on."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 30)[0])
    finally:
        os.close(handle)
