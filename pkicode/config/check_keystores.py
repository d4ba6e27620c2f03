"""Keystores: each type has the keys that are its own, and nothing asks a token for a private key.  Opens none."""

from collections.abc import Iterable, Mapping

from pkicode.config import pkcs11_uri
from pkicode.config.language import SECRET_FILES, Output, Secret
from pkicode.config.named import Entry, Tables
from pkicode.config.tree import Notes
from pkicode.config.wrong import WrongForm
from pkicode.model.problem import Part

_OF: Mapping[str, tuple[str, ...]] = {
    "file": ("path", "passphrase", "offline"),
    "pkcs11": ("uri", "module", "pin", "keys"),
    "command": ("command", "timeout"),
}
_NEEDED: Mapping[str, Mapping[str, str]] = {
    "file": {},
    "pkcs11": {"uri": 'uri = "pkcs11:token=corp"', "pin": 'pin = { env = "NAME" }'},
    "command": {"command": 'command = ["sign-with-kms", "--region", "eu"]'},
}


def everything(tables: Tables, certs: Iterable[Entry]) -> None:
    """Tell of every keystore that is not whole, and of every certificate that wants what its keystore cannot give."""
    stores = tables.entries["keystore"]
    for store in stores.values():
        kind = store.values.get("type")
        if isinstance(kind, str):
            _own_keys(tables.notes, store, kind)
        if kind == "pkcs11":
            _pin(tables.notes, store)
            _module(tables.notes, store)
            _adopted(tables.notes, store)
    for entry in certs:
        output: Output = entry.values.get("output") or Output()
        held = stores.get(entry.values["key"].store or "") if "key" in entry.values else None
        if held is None or held.values.get("type") not in ("pkcs11", "command") or "csr" in entry.values:
            continue
        for name in SECRET_FILES:
            if getattr(output, name):
                tables.notes.add(
                    "E0345",
                    f"`output.{name}` wants a private key that never leaves [keystore.{held.name}]",
                    (*entry.path, "output", name),
                    help="take it out, or keep this key in a keystore of type file",
                    related=[("the keystore", (*held.path, "type"))],
                )


def _own_keys(notes: Notes, store: Entry, kind: str) -> None:
    if kind != "file" and store.values.get("offline"):
        message = (
            f"[keystore.{store.name}] is offline, and here that is a folder of cards, whatever holds the keys there"
        )
        mend = 'write type = "file" and path = "FOLDER"; `pkicode ceremony` has options for tokens'
        notes.add("E0344", message, (*store.path, "type"), help=mend)
        return
    for name in store.raw:
        owner = next((other for other, keys in _OF.items() if name in keys and other != kind), None)
        if owner:
            message = f"`{name}` belongs to a keystore of type {owner}, and [keystore.{store.name}] is of type {kind}"
            notes.add("E0344", message, (*store.path, name), part=Part.KEY, help="remove it, or change `type`")
    for name, example in _NEEDED[kind].items():
        if name not in store.raw or store.raw[name] == []:
            message = f"[keystore.{store.name}] is of type {kind} and has no `{name}`"
            notes.add("E0344", message, (*store.path, "type"), help=f"add {example}")


def _pin(notes: Notes, store: Entry) -> None:
    pin: Secret | None = store.values.get("pin")
    if pin is not None and pin.create:
        notes.add("E0344", "a PIN is not made up here: the token has it", (*store.path, "pin"), help="remove `create`")


def _module(notes: Notes, store: Entry) -> None:
    if "uri" not in store.values:
        return
    uri, module = pkcs11_uri.parse(store.values["uri"]), store.values.get("module")
    mend = 'write module = "/path/to/libthetoken.so"'
    if module is None and uri.module_path is None and "module" not in store.raw:
        message = f"nothing says which module speaks for the token of [keystore.{store.name}]"
        notes.add("E0344", message, (*store.path, "uri"), help=mend)
    elif module is not None and uri.module_path is not None:
        notes.add(
            "E0344", "the module is named twice", (*store.path, "module"), help="here, or as module-path in `uri`"
        )


def _adopted(notes: Notes, store: Entry) -> None:
    seen: dict[str, str] = {}
    for label, uri in store.values.get("keys", {}).items():
        path = (*store.path, "keys", label)
        try:
            pkcs11_uri.label(label)
            pkcs11_uri.key(uri)
        except WrongForm as error:
            notes.add(error.code, f"`keys` in [keystore.{store.name}]: {error}", path, help=error.mend)
            continue
        if uri in seen:
            message = f"`{label}` and `{seen[uri]}` are one key"
            notes.add("E0344", message, path, help="each generation of a CA has a key of its own")
        seen.setdefault(uri, label)
