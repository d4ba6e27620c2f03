"""Events: progress that may be dropped.  The audit is not made of these; it is written inside Store.commit."""

from attrs import frozen


@frozen
class Event:
    """One step of an apply.  `done` and `total` count changes of `stage`."""

    stage: str
    message: str
    done: int = 0
    total: int = 0
    address: str = ""
    failed: bool = False
    """Somebody has to know: something failed, or a warning that stands nowhere else."""
    again: bool = False
    """A failure that whoever asked is told in full, with its mend, when all is done."""
