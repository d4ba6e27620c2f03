"""A PKI that has lived for five months: renewed, revoked, removed from, and full of certificates that ended."""

import shutil
from pathlib import Path

from attrs import evolve, frozen

from pkicode.model.faults import FaultPoint
from pkicode.model.instants import DAY, rfc3339
from tests.kinds import site
from tests.kinds.site import NOW, Site
from tests.postgres import Postgres
from tests.quick import quick_keystore
from tests.state.postgres import States, empty

BASE = site.BASE.replace(
    'base_url = "http://pki.corp.example"',
    'base_url = "http://pki.corp.example"\ncontent = ["ca", "crl", "ocsp", "bundle"]',
).replace("path_len = 0", 'path_len = 0\nocsp = { url = "http://ocsp.corp.example" }\ncrl = { shards = 2 }')
LEAVES = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
validity = "20d"
[cert.app]
profile = "server"
for_each = { values = [VALUES] }
dns = ["${each.value}.corp.example"]
validity = "20d"
"""
OLD = """
[cert.old]
profile = "server"
dns = ["old.corp.example"]
validity = "20d"
on_remove = "revoke"
"""
KEEP = """
[state]
keep = "30d"
"""


def revoke(name: str, cert: str, day: float, reason: str) -> str:
    until = rfc3339(NOW + int(day * DAY))
    return f'\n[[revoke]]\nid = "{name}"\ncert = "{cert}"\nissued_before = {until}\nreason = "{reason}"\n'


BOTH, ONE = LEAVES.replace("VALUES", '"api", "search"'), LEAVES.replace("VALUES", '"api"')
STAYS = revoke("STAYS", "cert.portal", 10, "superseded")
GOES = revoke("GOES", 'cert.app[\\"api\\"]', 20, "keyCompromise")
LIFE = {
    0: BOTH + OLD,
    10: BOTH + OLD + STAYS,
    20: BOTH + OLD + STAYS + GOES,
    30: BOTH + STAYS + GOES,
    # Every ten days an apply; a [[revoke]] entry and a row of the fan-out are taken out.
    **dict.fromkeys(range(40, 70, 10), BOTH + STAYS + GOES),
    **dict.fromkeys(range(70, 160, 10), ONE + STAYS),
}
POINTS = (FaultPoint.ARCHIVE_STAGED, FaultPoint.ARCHIVED, FaultPoint.PRUNED)
"""What a prune passes, and no apply."""
TODAY = NOW + 151 * DAY


@frozen
class Ground:
    """Where LIFE was lived, to be copied."""

    folder: Path
    states: States | None

    def copy(self, folder: Path) -> Site:
        """The same life again, on its last day."""
        shutil.copytree(self.folder, folder, symlinks=True)
        state = self.states.new() if self.states else ""
        return Site(folder, now=TODAY, state=state).write(ONE + STAYS + KEEP, base=BASE)


def lived(folder: Path, postgres: Postgres | None) -> Ground:
    folder.mkdir(parents=True)
    quick_keystore(folder)
    ground = Ground(folder, None)
    state = ""
    if postgres is not None:
        nothing = empty(postgres, "site")
        ground = evolve(ground, states=States(postgres, postgres.kept(nothing.database)))
        state = postgres.url(ground.states.database)
    there = Site(folder, state=state)
    for day, text in LIFE.items():
        there.now = NOW + day * DAY
        applied = there.write(text, base=BASE).apply()
        if applied.exit_code:
            raise AssertionError(f"day {day}: {applied.problems}")
    return ground
