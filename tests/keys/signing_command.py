"""A program that signs, as docs/reference/signer-command.md describes it: keys in a folder, and ways to misbehave.

    python -m tests.keys.signing_command FOLDER [HOW]

HOW is one of the functions below: what the program does instead of answering a question to sign.
"""

import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from pkicode.x509 import keys


def path(folder: Path, label: str) -> Path:
    return folder / quote(label, safe="")


def key(folder: Path, label: str) -> dict[str, str]:
    loaded = keys.load_pkcs8(path(folder, label).read_bytes())
    return {"label": label, "spki": b64encode(keys.spki(loaded)).decode()}


def signature(folder: Path, asked: dict[str, Any]) -> bytes:
    loaded = keys.load_pkcs8(path(folder, asked["label"]).read_bytes())
    if "message" in asked:
        return loaded.sign(b64decode(asked["message"]))
    how, digest = Prehashed(getattr(hashes, asked["hash"].upper())()), b64decode(asked["digest"])
    if isinstance(loaded, rsa.RSAPrivateKey):
        return loaded.sign(digest, padding.PKCS1v15(), how)
    return loaded.sign(digest, ec.ECDSA(how))


def answer(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    assert asked["v"] == 1
    if asked["do"] == "labels":
        return {"labels": [unquote(one.name) for one in folder.iterdir()]}
    if asked["do"] == "find":
        return {"keys": [key(folder, label) for label in asked["labels"] if path(folder, label).exists()]}
    if asked["do"] == "create":
        if not path(folder, asked["label"]).exists():
            path(folder, asked["label"]).write_bytes(keys.pkcs8(keys.generate(asked["alg"])))
        return {"key": key(folder, asked["label"])}
    return {"signature": b64encode(signature(folder, asked)).decode()}


def say(asked: dict[str, Any], told: Any) -> None:
    sys.stdout.write(json.dumps({"id": asked["id"], **told}) + "\n")
    sys.stdout.flush()


def refuse(folder: Path, asked: dict[str, Any]) -> None:
    say(asked, {"error": "the quota is used up"})


def hang(folder: Path, asked: dict[str, Any]) -> None:
    # A child that keeps our stdout open, as a wrapper script does.
    with subprocess.Popen(["sleep", "600"]) as child:
        (folder.parent / "pids").write_text(f"{os.getpid()} {child.pid}")
        child.wait()


def end(folder: Path, asked: dict[str, Any]) -> None:
    sys.exit(3)


def garbage(folder: Path, asked: dict[str, Any]) -> None:
    sys.stdout.write("Traceback (most recent call last):\n")
    sys.stdout.flush()


def nested(folder: Path, asked: dict[str, Any]) -> None:
    sys.stdout.write("[" * 100_000 + "\n")
    sys.stdout.flush()


def twice(folder: Path, asked: dict[str, Any]) -> None:
    line = json.dumps({"id": asked["id"], **answer(folder, asked)}) + "\n"
    sys.stdout.write(line * 2)
    sys.stdout.flush()


def endless(folder: Path, asked: dict[str, Any]) -> None:
    while True:
        sys.stdout.write("x" * 65536)
        sys.stdout.flush()


def late(folder: Path, asked: dict[str, Any]) -> None:
    say({"id": asked["id"] - 1}, answer(folder, asked))


def wrong(folder: Path, asked: dict[str, Any]) -> None:
    say(asked, {"signature": b64encode(b"\x30\x06\x02\x01\x01\x02\x01\x01").decode()})


def empty(folder: Path, asked: dict[str, Any]) -> None:
    say(asked, {"signature": 7})


def main() -> None:
    folder, how = Path(sys.argv[1]), globals().get(sys.argv[2]) if len(sys.argv) > 2 else None
    folder.mkdir(parents=True, exist_ok=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if how and asked["do"] == "sign":
            how(folder, asked)
        else:
            say(asked, answer(folder, asked))


if __name__ == "__main__":
    main()
