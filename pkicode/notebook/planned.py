"""A plan in the hands of Python: shown, taken apart as a frame, explained, applied."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import field, frozen

from pkicode.adapters import loop
from pkicode.model.change import Plan
from pkicode.model.extras import framed
from pkicode.notebook.applied import Applied, applied
from pkicode.notebook.told import Listener, Told, heard, mended
from pkicode.project import Project
from pkicode.views.explain import explanation
from pkicode.views.human import human
from pkicode.views.mimebundle import mimebundle

if TYPE_CHECKING:
    from pandas import DataFrame


@frozen(repr=False)
class Planned:
    """What apply would do at one instant; notebooks show it as HTML, prompts as text."""

    plan: Plan
    """The plan as data."""
    _project: Project
    _again: Callable[[], Project] = field(eq=False)
    """Reads pki.toml anew: apply must see what it says then."""

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to do."""
        return self.plan.has_changes

    @property
    def df(self) -> "DataFrame":
        """One row per change, fan-outs unfolded; docs/reference/frames.md has the columns."""
        with mended(), framed():
            from pkicode.frames.plan import plan_frame

        return plan_frame(self.plan)

    def explain(self, address: str) -> Told:
        """Why this plan does to an address what it does, or leaves it alone."""
        return loop.run(self.aexplain(address))

    async def aexplain(self, address: str) -> Told:
        """See `explain`."""
        with mended():
            found = await self._project.aexplain(address, plan=self.plan)
        return Told(
            explanation(
                address=found.address,
                generation=found.generation,
                status=found.status,
                lines=found.lines,
                source=found.source,
            )
        )

    def apply(self, *, jobs: int | None = None, emit: Listener | None = None) -> Applied:
        """Do exactly this.  The first ^C finishes what is under way, the second aborts.

        Args:
            jobs: worker processes; as many as there are cores when there is much to sign.
            emit: told of every step, from another thread; without it, warnings are logged.

        Raises:
            StalePlan: pki.toml, its inputs or the state have changed since; nothing was done.
            Denied, LeaseHeld, LeaseLost, ConfigError, StateError: nothing (more) was done.
        """
        with mended():
            project = self._again()
            return applied(project.apply(self.plan, jobs=jobs, emit=heard(emit)), project.config)

    async def aapply(self, *, jobs: int | None = None, emit: Listener | None = None) -> Applied:
        """See `apply`."""
        with mended():
            project = self._again()
            return applied(await project.aapply(self.plan, jobs=jobs, emit=heard(emit)), project.config)

    def __repr__(self) -> str:
        return human(self.plan)

    def _repr_mimebundle_(self, **_asked: object) -> dict[str, object]:
        return mimebundle(self.plan, self._project.where)
