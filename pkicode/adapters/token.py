"""One PKCS #11 token (OASIS PKCS #11 2.40): its module, one session, one PIN.  What is on the token is token_keys.py's.

A module is initialised for a single thread (python-pkcs11 gives it no locks), so that each has one thread of ours, and
everything of a module happens there.  The session is opened again after a fork, and once when a call fails: a token
that was pulled out and put back, or a network that was away, must not end an apply.  C_Finalize is part of that: no
other code of this process should use the same module.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import pkcs11
from attrs import define, frozen
from pkcs11 import exceptions as p11
from pkcs11.constants import TokenFlag
from pkcs11.mechanisms import Mechanism

from pkicode.config.pkcs11_uri import Pkcs11Uri
from pkicode.model.problem import KeyStoreError

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib as Lib  # noqa: N812 - it is a class

T = TypeVar("T")

_MOST_SHOWN = 8
"""Labels of tokens in a message."""
_SALT = os.urandom(32)
_refused: set[tuple[str, bytes, bytes]] = set()
"""(module, serial of the token, digest of the PIN) of every PIN that a token refused: a few wrong ones lock it."""
_initialised: dict[str, int] = {}
"""Module -> the process in which it was initialised; a fork inherits memory, but no session (section 6.6.1)."""


@frozen
class _Failed:
    told: KeyStoreError
    final: bool
    """Trying again is of no use, or does harm."""


@define(eq=False)
class _Opened:
    session: pkcs11.Session
    mark: bytes
    """Digest of the PIN, b"" for nobody's session, which sees public objects."""
    users: set["Token"]


class _Module:
    """A module in this process; all but `thread` is touched in its thread only."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="pkcs11")
        self.epoch = 0
        """Rises when every session and handle has become void."""
        self.opened: dict[int, _Opened] = {}
        self._lib: Lib | None = None

    def lib(self) -> "Lib":
        if self._lib is None:
            try:
                self._lib = pkcs11.lib(self.path)
            except p11.PKCS11Error as error:
                is_loaded = type(error) is not p11.PKCS11Error
                raise KeyStoreError(
                    f"the module {self.path} {'does not start' if is_loaded else 'cannot be loaded'}: {_plain(error)}",
                    help="it has a configuration of its own: the module's manual has it"
                    if is_loaded
                    else "`module` is the PKCS #11 library of the token, built for this machine",
                ) from error
            if _initialised.get(self.path, os.getpid()) != os.getpid():
                self.reset()
            _initialised[self.path] = os.getpid()
        return self._lib

    def reset(self) -> None:
        """Forget every session and look at the slots anew, which many modules do only when they are initialised."""
        self.epoch += 1
        self.opened.clear()
        if self._lib is not None:
            with suppress(p11.PKCS11Error):
                self._lib.finalize()
            self._lib.initialize()


_modules: dict[tuple[int, str], _Module] = {}


def _module(path: str) -> _Module:
    here = os.getpid(), path
    return _modules.get(here) or _modules.setdefault(here, _Module(path))


class Token:
    """The token that a URI names.

    Args:
        name: `[keystore.NAME]`, for errors.
        uri: what it must match; more than one match is an error.
        module: path of the library.
    """

    def __init__(self, name: str, uri: Pkcs11Uri, module: str) -> None:
        self._name = name
        self._uri = uri
        self._path = module
        self._slot: tuple[int, int] | None = None
        """(epoch, slot) where it was found last."""
        self._pin: bytes | None = None

    def log_in(self, pin: bytes) -> None:
        """Use this PIN from now on; it is tried when a session is next needed, and never again once refused."""
        self._pin = pin

    @property
    def epoch(self) -> int:
        """Handles of objects are good while this stays the same; to be read in the token's thread."""
        return _module(self._path).epoch

    def run(self, work: Callable[[pkcs11.Session], T]) -> T:
        """What `work` gives, in the token's thread; waits for it.

        `work` runs a second time, with a new session, if the token fails: it has to be idempotent.

        Raises:
            KeyStoreError: no such token, a PIN that is refused, or what the token says, after the second time.
        """
        return self._submit(work).result()

    async def call(self, work: Callable[[pkcs11.Session], T]) -> T:
        """As `run`, for an event loop."""
        return await asyncio.wrap_future(self._submit(work))

    async def about(self) -> Mapping[str, str]:
        """What the token says of itself, without a login."""

        def said(session: pkcs11.Session) -> dict[str, str]:
            # Again: the flags of a session's token are those of the day it was opened.
            slot = session.token.slot
            one = slot.get_token()
            makes = [kind for kind, mechanism in _MAKES.items() if mechanism in slot.get_mechanisms()]
            pin = [text for flag, text in _PIN_IS.items() if flag & one.flags]
            return {
                "token": one.label,
                "serial": one.serial.decode("ascii", "replace"),
                "model": f"{one.model}, {one.manufacturer_id}",
                "slot": f"{slot.slot_id}, {slot.slot_description}",
                "module": self._path,
                "makes": " ".join(makes),
                **({"warning": pin[0]} if pin else {}),
            }

        return await self.call(said)

    async def close(self) -> None:
        """Log out, unless another keystore of this process uses the same token."""
        module = _module(self._path)
        await asyncio.wrap_future(module.thread.submit(self._close, module))

    def _submit(self, work: Callable[[pkcs11.Session], T]) -> "Future[T]":
        module = _module(self._path)
        return module.thread.submit(self._run, module, work)

    # What follows runs in the module's thread.

    def _run(self, module: _Module, work: Callable[[pkcs11.Session], T]) -> T:
        done = self._tried(module, work, anew=False)
        if isinstance(done, _Failed) and not done.final:
            done = self._tried(module, work, anew=True)
        if isinstance(done, _Failed):
            raise done.told
        return done

    def _tried(self, module: _Module, work: Callable[[pkcs11.Session], T], *, anew: bool) -> "T | _Failed":
        # A failure is handed back and not raised: what python-pkcs11's errors drag along belongs to this thread.
        try:
            if anew:
                module.reset()
            return work(self._session(module))
        except p11.PKCS11Error as error:
            return _Failed(self._told(error), final=isinstance(error, _REFUSALS))

    def _session(self, module: _Module) -> pkcs11.Session:
        token = self._token(module)
        slot, mark = token.slot.slot_id, _mark(self._pin)
        there = module.opened.get(slot)
        if there and mark in (there.mark, b""):
            there.users.add(self)
            return there.session
        if there and there.mark:
            raise KeyStoreError(
                f"the token of {self._name} is open in this process with another PIN",
                help="two keystores on one token have one PIN",
            )
        session = self._open(token)
        if there:
            there.session.close()
        module.opened[slot] = _Opened(session, mark, {self, *(there.users if there else ())})
        return session

    def _token(self, module: _Module) -> pkcs11.Token:
        if self._slot and self._slot[0] == module.epoch and self._slot[1] in module.opened:
            return module.opened[self._slot[1]].session.token
        found = list(self._matching(module))
        if not found:
            module.reset()
            found = list(self._matching(module))
        if len(found) != 1:
            what = f"{len(found)} tokens match" if found else "no token matches"
            serials = " and ".join(one.serial.decode("ascii", "replace") for one in found)
            raise KeyStoreError(
                f"{what} the URI of {self._name}",
                help=f"add ;serial= to it: they have {serials}" if found else _missed(module),
            )
        self._slot = module.epoch, found[0].slot.slot_id
        return found[0]

    def _matching(self, module: _Module) -> Iterator[pkcs11.Token]:
        lib, uri = module.lib(), self._uri
        wanted = uri.library_manufacturer, uri.library_description, uri.library_version
        if not _agree(wanted, (lib.manufacturer_id, lib.library_description, lib.library_version)):
            return
        for slot in lib.get_slots(token_present=True):
            wanted_slot = uri.slot_id, uri.slot_description, uri.slot_manufacturer
            if not _agree(wanted_slot, (slot.slot_id, slot.slot_description, slot.manufacturer_id)):
                continue
            with suppress(p11.TokenNotPresent, p11.TokenNotRecognised):
                one = slot.get_token()
                serial = one.serial.decode("utf-8", "replace")
                has = one.label, one.manufacturer_id, serial, one.model
                if _agree((uri.token, uri.manufacturer, uri.serial, uri.model), has) and _is_ready(one):
                    yield one

    def _open(self, token: pkcs11.Token) -> pkcs11.Session:
        writes = not TokenFlag.WRITE_PROTECTED & token.flags
        if self._pin is None:
            return token.open(rw=writes)
        return self.with_pin(token, lambda pin: token.open(rw=writes, user_pin=pin))

    def with_pin(self, token: pkcs11.Token, work: Callable[[str], T]) -> T:
        """What `work` does with the PIN: log in, or sign with a key that wants it each time.

        Raises:
            KeyStoreError: this PIN was refused before, or may not be tried.
        """
        this = self._path, token.serial, _mark(self._pin)
        if this in _refused:
            raise KeyStoreError(
                f"the PIN of {self._name} was refused before, and is not tried again",
                help="correct where `pin` is read from, or start anew where the token's own PIN was changed",
            )
        refuse_a_pad(self._name, token.flags)
        refuse_the_last_try(self._name, token.flags)
        try:
            pin = (self._pin or b"").decode("utf-8")
        except UnicodeDecodeError:
            raise KeyStoreError(f"the PIN of {self._name} is not UTF-8", help="check its source") from None
        try:
            return work(pin)
        except _REFUSALS:
            _refused.add(this)
            raise

    def _told(self, error: p11.PKCS11Error) -> KeyStoreError:
        what, mend = next(
            (told for kind, told in _TOLD.items() if isinstance(error, kind)),
            (
                f"says {_plain(error)}",
                "see that it is there and well; what was interrupted goes on with the next apply",
            ),
        )
        return KeyStoreError(f"the token of {self._name} {what}", help=mend)

    def _close(self, module: _Module) -> None:
        for slot, there in [*module.opened.items()]:
            there.users.discard(self)
            if not there.users:
                del module.opened[slot]
                # The token may be gone already; then there is nothing to log out of.
                with suppress(p11.PKCS11Error):
                    there.session.close()
        self._pin = None


_MAKES = {
    "ec": Mechanism.EC_KEY_PAIR_GEN,
    "rsa": Mechanism.RSA_PKCS_KEY_PAIR_GEN,
    "ed25519": Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
}
_PIN_IS = {
    TokenFlag.PROTECTED_AUTHENTICATION_PATH: "its PIN is typed on a pad, which does not work here",
    TokenFlag.USER_PIN_LOCKED: "its PIN is locked",
    TokenFlag.USER_PIN_FINAL_TRY: "the next wrong PIN locks it",
    TokenFlag.USER_PIN_COUNT_LOW: "a wrong PIN was tried",
}
_REFUSALS = (p11.PinIncorrect, p11.PinInvalid, p11.PinLenRange, p11.PinLocked, p11.PinExpired)
_TOLD: dict[type[p11.PKCS11Error], tuple[str, str]] = {
    p11.PinLocked: ("is locked: too many wrong PINs", "its security officer unlocks it"),
    p11.PinExpired: ("wants a new PIN: this one has expired", "change it with the token's own tool"),
    p11.PinIncorrect: (
        "refuses the PIN",
        "correct where `pin` is read from before trying again: a few wrong ones lock the token",
    ),
    p11.UserPinNotInitialized: ("has no user PIN yet", "its security officer sets one"),
    p11.MechanismInvalid: ("does not know this kind of key", "choose another key.alg"),
    p11.TokenWriteProtected: ("is write-protected", "keys are made on a token that may be written to"),
    p11.SessionReadOnly: ("is write-protected", "keys are made on a token that may be written to"),
    p11.DeviceMemory: ("is full", "old keys are removed with the token's own tool, never by pkicode"),
    p11.SessionCount: ("has no session left", "close other programs that use it"),
    p11.UserAlreadyLoggedIn: ("is in use by other code of this process", "use it from one place"),
}


def refuse_a_pad(name: str, flags: TokenFlag) -> None:
    """Whoever waits at a pad is nobody who runs an apply, and some pads count a PIN that comes another way as wrong.

    Raises:
        KeyStoreError: the PIN is typed on a pad (CKF_PROTECTED_AUTHENTICATION_PATH).
    """
    if TokenFlag.PROTECTED_AUTHENTICATION_PATH & flags:
        raise KeyStoreError(
            f"the token of {name} wants its PIN typed on a pad, which does not work; none was tried",
            help="use a reader without a pad, or switch the pad off in its own configuration",
        )


def refuse_the_last_try(name: str, flags: TokenFlag) -> None:
    """Nobody is locked out by a machine: the one try that is left is a human's.

    Raises:
        KeyStoreError: one more wrong PIN would lock the token.
    """
    if TokenFlag.USER_PIN_FINAL_TRY & flags:
        raise KeyStoreError(
            f"the token of {name} locks with the next wrong PIN, so that none is tried",
            help="log in by hand once, which sets its counter back: `pkcs11-tool --module MODULE --login --test`",
        )


def _plain(error: p11.PKCS11Error) -> str:
    text = str(error)
    return f"{type(error).__name__}{f' ({text})' if text else ''}"


def _mark(pin: bytes | None) -> bytes:
    return hashlib.blake2b(pin, key=_SALT).digest() if pin is not None else b""


def _agree(wanted: tuple[object, ...], has: tuple[object, ...]) -> bool:
    return all(want in (None, there) for want, there in zip(wanted, has, strict=True))


def _missed(module: _Module) -> str:
    """The mend where no token matches: most often the URI has a slip, or the module looks elsewhere."""
    shown: list[str] = []
    for slot in module.lib().get_slots(token_present=True):
        with suppress(p11.TokenNotPresent, p11.TokenNotRecognised):
            one = slot.get_token()
            if _is_ready(one) and len(shown) < _MOST_SHOWN:
                shown.append(f"`{one.label}`")
    there = f"the module shows {', '.join(shown)}" if shown else "the module shows none that is initialised"
    return f"is the token there? {there}; SoftHSM2 looks where SOFTHSM2_CONF says"


def _is_ready(token: pkcs11.Token) -> bool:
    return bool(TokenFlag.TOKEN_INITIALIZED & token.flags)
