"""A ceremony rehearsed: every step in a folder that goes away, with throw-away keys, from an empty state.

Nothing of the project is touched: no state, keystore, token, command, publish target or output of it.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import asdict, evolve, frozen

from pkicode.ceremony.bundle import decode_request, decode_response, encode
from pkicode.config.language import KeystoreSpec, PolicySpec, Rotate, Secret, StateSpec
from pkicode.config.reader import Config
from pkicode.kinds.offline import is_offline
from pkicode.kinds.rows import block_of, templated
from pkicode.model.address import Address
from pkicode.model.change import Change
from pkicode.model.faults import nothing
from pkicode.model.instants import rfc3339
from pkicode.model.problem import PkicodeError
from pkicode.model.row import Block
from pkicode.ports import Want
from pkicode.project import Project, drop
from pkicode.project.offline import Offline, check, check_clock, sealed, transcript

_ONLY = ("ca.*", "crl.*", "ocsp.*")
_ROUNDS = 10
"""More than any hierarchy has floors."""
_CARDS = "cards"

Tell = Callable[[str], None]


def begins(project: Project) -> int:
    """When the oldest CA of a project was made; now, where there is none."""
    names = [one.name for one in project.config.cas]
    made = [one.created for name in names for one in project.inventory(Want(address=f"ca.{name}", with_der=False))]
    return min([project.clock(), *made])


def rehearse(
    config: Config, folder: Path, now: int, tell: Tell, *, at: int | None = None, rollover: Sequence[str] = ()
) -> int:
    """Play the making of all CAs of a configuration, and what is due later; how many ceremonies that took.

    Args:
        config: of the project.
        folder: an empty one, that nobody else may read.
        now: the instant of the making.
        tell: gets every step in a sentence: where, what is run, and what it asks for.
        at: a later instant to look at.  Up to it ceremonies are held on the days on which they are due.
        rollover: the CAs that get their next key generation then.

    Raises:
        PkicodeError: no CA is offline, or the real ceremony would fail as this one did.
    """
    away = [one for one in config.cas if is_offline(one.name, config)]
    if not away:
        raise PkicodeError("no CA is offline, so that no ceremony is needed", help="docs/explanation/ceremony.md")
    for name in rollover:
        _block(config, name)
    if at is not None and at <= now:
        message = f"the CAs of the rehearsal are made {rfc3339(now)}, and {rfc3339(at)} is not after it"
        raise PkicodeError(message, help="say --at +5y, for instance")
    stage = _stage(_apart(config, folder))
    for block in away:
        stage.init(block, 1, tell)
    held = stage.play(now, tell)
    if at is None:
        return held
    made = now
    while (due := stage.next_ceremony(now)) and due < at:
        now = due
        held += stage.play(now, drop)
        tell(f"{rfc3339(now)}: what was due was signed in the same way")
    tell(f"{rfc3339(at)}:")
    stage = evolve(stage, config=_rolling(stage.config, rollover, at - made))
    allow = {"root-change": ",".join(rollover)} if rollover else {}
    held += stage.play(at, tell, allow)
    if due := stage.next_ceremony(at):
        tell(f"{rfc3339(due)}: the next ceremony is due")
    return held


def _rolling(config: Config, names: Sequence[str], after: int) -> Config:
    """With these CAs due for their next key generation `after` so long, as `rotate` would say it."""
    for name in names:
        block = _block(config, name)
        rotate = Rotate(after, block.spec.rotate.prepublish) if block.spec.rotate else Rotate(after)
        told = json.loads(block.template)
        spec = {**told["spec"], "rotate": asdict(rotate)}
        defaulted = [one for one in told["defaulted"] if one.partition(".")[0] != "rotate"]
        changed = evolve(block.spec, rotate=rotate)
        rolled = templated("ca", name, changed, spec, block.source, block.columns, defaulted)
        config = _of(config, [rolled if one is block else one for one in config.blocks])
    return config


def _block(config: Config, name: str) -> Block:
    block = config.block("ca", name)
    if block is None:
        raise PkicodeError(f"there is no [ca.{name}]", help="pki.toml says which there are")
    return block


def _of(config: Config, blocks: Sequence[Block]) -> Config:
    return evolve(config, blocks=tuple(blocks), by_address={(one.kind, one.name): one for one in blocks})


@frozen
class _Stage:
    """Both machines, in one folder."""

    config: Config
    offline: Offline

    def init(self, block: Block, generation: int, tell: Tell) -> None:
        label, alg = Address("ca", block.name).at(generation), block.spec.key.alg
        (self.config.root / _CARDS / f"{label}.csr").write_bytes(self.offline.init(label, alg))
        tell(f"offline  `pkicode ceremony init {label} --alg {alg} --keystore FILE` asks for the keystore's passphrase")
        tell(f"online   {label}.csr goes into the folder of [keystore.{block.spec.key.store}]")

    def next_ceremony(self, now: int) -> int | None:
        figures = self._project(now).vitals.status().figures
        return next((one.value for one in figures if one.name == "next_ceremony_timestamp_seconds"), None)

    def play(self, now: int, tell: Tell, allow: Mapping[str, str] | None = None) -> int:
        """Apply, and hold ceremonies, until nothing waits for one; how many."""
        project, held = self._project(now), 0
        for _ in range(2 * _ROUNDS):
            applied = project.apply(only=_ONLY, allow=allow, emit=drop)
            if applied.problems:
                one = applied.problems[0]
                raise PkicodeError(f"apply would fail: {one.message}", help=one.help)
            waiting = [one for one in project.plan(only=_ONLY, allow=allow).changes if one.by_ceremony]
            if not waiting:
                tell("online   `pkicode apply` has nothing to wait for any more")
                return held
            lacking = [one for one in waiting if self._lacks_card(one)]
            if lacking:
                tell("online   `pkicode apply` waits for the cards of keys, and ends with 7")
                for change in lacking:
                    self.init(block_of(change), change.generation, tell)
            else:
                tell("online   `pkicode apply` reserves serials and intents, and ends with 7")
                self._round(project, now, tell)
                held += 1
        raise PkicodeError(f"after {held} ceremonies something still waits", help="`pkicode plan` says what")

    def _project(self, now: int) -> Project:
        return Project(self.config, {}, now, nothing)

    def _lacks_card(self, change: Change) -> bool:
        card = self.config.root / _CARDS / f"{change.address.at(change.generation)}.csr"
        return change.address.kind == "ca" and is_offline(change.address.name, self.config) and not card.exists()

    def _round(self, project: Project, now: int, tell: Tell) -> None:
        """Export, sign, import, each on what the other would read."""
        request = decode_request(encode(project.ceremonies.export()))
        count = len(request.words.split())
        tell(f"online   `pkicode ceremony export REQUEST` shows {count} words, to travel another way")
        check_clock(request, now)
        check(request)
        response = decode_response(encode(self.offline.answer(request, now)))
        tell("offline  `pkicode ceremony sign REQUEST --keystore FILE --out RESPONSE` asks for passphrase and words")
        # What was signed, below the lines about this one file, whose digest the real one will not have.
        for line in transcript(request)[4:]:
            tell(f"         | {line}" if line else "         |")
        received = project.ceremonies.receive(response, drop)
        brought = ", ".join((*received.certificates, *received.lists))
        tell(f"online   `pkicode ceremony import RESPONSE` takes {brought}")


def _stage(config: Config) -> _Stage:
    passphrase = os.urandom(32).hex().encode()
    vault = config.root / "offline"
    vault.mkdir(mode=0o700)
    (config.root / _CARDS).mkdir()
    return _Stage(config, Offline(sealed(vault / "keys.db", lambda: passphrase)))


def _apart(config: Config, folder: Path) -> Config:
    """The CAs of a configuration with nothing around them that is the project's."""
    settings = config.settings
    return evolve(
        _of(config, config.cas),
        root=folder,
        settings=evolve(
            settings,
            state=StateSpec(),
            keystores=tuple(_throw_away(one) for one in settings.keystores),
            publish=tuple(evolve(one, url=f"public/{one.name}") for one in settings.publish),
            # What is asked of the real one, an approval for instance, is asked then.
            policy=PolicySpec(deny=settings.policy.deny),
            moved=(),
            forget=(),
            revoke=(),
            scans=(),
        ),
    )


def _throw_away(spec: KeystoreSpec) -> KeystoreSpec:
    if spec.offline:
        return KeystoreSpec(spec.name, "file", path=_CARDS, offline=True)
    secret = Secret(file=f"passphrase-{spec.name}", create=True)
    return KeystoreSpec(spec.name, "file", path=f"keys-{spec.name}/keys.db", passphrase=secret)
