"""Random small PKIs for the laws: stanzas of leaves below two fixed CAs, written and applied in memory."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen
from hypothesis import strategies as st

from pkicode.model.change import Plan
from pkicode.plan.planfile import canonical, document
from tests.kinds.site import Site
from tests.quick import quick_keystore
from tests.state.postgres import States

NAMES = ("api", "db", "mail", "web")


@frozen
class Leaf:
    """One [cert.NAME]."""

    name: str
    hosts: tuple[str, ...]
    fans_out: bool
    days: int
    at: str
    rekey: bool
    on_remove: str
    output: bool

    @property
    def stanza(self) -> str:
        lines = [f"[cert.{self.name}]", 'profile = "server"', f'validity = "{self.days}d"']
        if self.fans_out:
            lines += [
                f"for_each = {{ values = {json.dumps(self.hosts)} }}",
                f'dns = ["${{each.value}}.{self._domain}"]',
            ]
            file = f"{self.name}-${{each.value}}"
        else:
            lines += [f"dns = {json.dumps([f'{host}.{self._domain}' for host in self.hosts])}"]
            file = self.name
        lines += [
            f'renew = {{ at = "{self.at}", rekey = {json.dumps(self.rekey)} }}',
            f'on_remove = "{self.on_remove}"',
        ]
        if self.output:
            lines += [f'output = {{ chain = "out/{file}.pem", key = "out/{file}.key" }}']
        return "\n".join(lines) + "\n"

    @property
    def _domain(self) -> str:
        return f"{self.name}.corp.example"


hosts = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True).map(tuple)


def leaf(name: str) -> st.SearchStrategy[Leaf]:
    return st.builds(
        Leaf,
        name=st.just(name),
        hosts=hosts,
        fans_out=st.booleans(),
        days=st.integers(2, 90),
        at=st.sampled_from(["1/3", "1/2", "2/3", "9/10", "1d"]),
        rekey=st.booleans(),
        on_remove=st.sampled_from(["orphan", "revoke"]),
        output=st.booleans(),
    )


leaves = st.lists(st.sampled_from(NAMES), max_size=3, unique=True).flatmap(
    lambda names: st.tuples(*(leaf(name) for name in names))
)


def text(wanted: Sequence[Leaf]) -> str:
    return "\n".join(one.stanza for one in wanted)


@frozen
class Ground:
    """Where PKIs are tried: a folder, and where their states are if they are not in it."""

    folder: Path
    states: States | None


@contextmanager
def site(ground: Ground, wanted: Sequence[Leaf] = ()) -> Iterator[Site]:
    """A folder of its own, nothing applied."""
    with tempfile.TemporaryDirectory(dir=ground.folder) as root:
        quick_keystore(Path(root))
        yield Site(Path(root), state=ground.states.new() if ground.states else "").write(text(wanted))


def told(plan: Plan) -> bytes:
    """The plan in its canonical bytes, without the digests of files whose bytes differ."""
    whole = document(plan)
    return canonical({key: value for key, value in whole.items() if key not in ("inputs", "plan_id")})
