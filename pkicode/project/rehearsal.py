"""A ceremony rehearsed: every step in a folder that goes away, with throw-away keys, from an empty state.

Nothing of the project is touched: no state, keystore, token, command, publish target or output of it.
"""

import os
from collections.abc import Callable
from pathlib import Path

from attrs import evolve

from pkicode.ceremony.bundle import decode_request, decode_response, encode
from pkicode.config.language import KeystoreSpec, PolicySpec, Secret, StateSpec
from pkicode.config.reader import Config
from pkicode.kinds.offline import is_offline
from pkicode.model.address import Address
from pkicode.model.faults import nothing
from pkicode.model.problem import PkicodeError
from pkicode.model.row import Block
from pkicode.project import Project, drop
from pkicode.project.offline import Offline, check, check_clock, transcript

_ONLY = ("ca.*", "crl.*")
_ROUNDS = 10
"""More than any hierarchy has floors."""
_CARDS = "cards"

Tell = Callable[[str], None]


def rehearse(config: Config, folder: Path, now: int, tell: Tell) -> int:
    """Play the making of all CAs of a configuration; how many ceremonies it took.

    Args:
        config: of the project.
        folder: an empty one, that nobody else may read.
        now: the instant of all of it.
        tell: gets every step in a sentence: where, what is run, and what it asks for.

    Raises:
        PkicodeError: no CA is offline, or the real ceremony would fail as this one did.
    """
    away = [one for one in config.blocks if one.kind == "ca" and is_offline(one.name, config)]
    if not away:
        raise PkicodeError("no CA is offline, so that no ceremony is needed", help="docs/explanation/ceremony.md")
    project = Project(_apart(config, folder), {}, now, nothing)
    passphrase = os.urandom(32).hex().encode()
    vault = folder / "offline"
    vault.mkdir(mode=0o700)
    offline = Offline(vault / "keys.db", lambda: passphrase)
    (folder / _CARDS).mkdir()
    for block in away:
        _init(block, offline, folder, tell)
    for number in range(1, _ROUNDS):
        applied = project.apply(only=_ONLY, emit=drop)
        if applied.problems:
            one = applied.problems[0]
            raise PkicodeError(f"apply would fail: {one.message}", help=one.help)
        if applied.exit_code == 0:
            tell("online   `pkicode apply` has nothing to wait for any more")
            return number - 1
        tell("online   `pkicode apply` reserves serials and intents, and ends with 7")
        _round(project, offline, now, tell)
    raise PkicodeError(f"after {_ROUNDS} ceremonies something still waits", help="`pkicode plan` says what")


def _init(block: Block, offline: Offline, folder: Path, tell: Tell) -> None:
    label, alg = Address("ca", block.name).at(1), block.spec.key.alg
    (folder / _CARDS / f"{label}.csr").write_bytes(offline.init(label, alg))
    tell(f"offline  `pkicode ceremony init {label} --alg {alg} --keystore FILE` asks for the keystore's passphrase")
    tell(f"online   {label}.csr goes into the folder of [keystore.{block.spec.key.store}]")


def _round(project: Project, offline: Offline, now: int, tell: Tell) -> None:
    """Export, sign, import, each on what the other would read."""
    request = decode_request(encode(project.ceremonies.export()))
    tell(f"online   `pkicode ceremony export REQUEST` shows {len(request.words.split())} words, to travel another way")
    check_clock(request, now)
    check(request)
    response = decode_response(encode(offline.answer(request, now)))
    tell("offline  `pkicode ceremony sign REQUEST --keystore FILE --out RESPONSE` asks for passphrase and words")
    # What was signed, below the lines about this one file, whose digest the real one will not have.
    for line in transcript(request)[4:]:
        tell(f"         | {line}" if line else "         |")
    received = project.ceremonies.receive(response, drop)
    brought = ", ".join((*received.certificates, *received.lists))
    tell(f"online   `pkicode ceremony import RESPONSE` takes {brought}")


def _apart(config: Config, folder: Path) -> Config:
    """The CAs of a configuration with nothing around them that is the project's."""
    cas = tuple(one for one in config.blocks if one.kind == "ca")
    settings = config.settings
    return evolve(
        config,
        root=folder,
        blocks=cas,
        by_address={(one.kind, one.name): one for one in cas},
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
