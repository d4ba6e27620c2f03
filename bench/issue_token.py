"""Certificates by a CA on a PKCS #11 token (SoftHSM2): an apply against the token alone, and against a key in a file.

`of_raw` is the share of what the token can sign; a real token is slower, and the share nearer to one.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import _fleet
from _measure import PKICODE, Ran, run, tell

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "1234"
TOKEN = f"""[keystore.token]
type = "pkcs11"
uri = "pkcs11:token=bench"
module = "{MODULE}"
pin = {{ file = "pin" }}
"""
RAW = f"""
import pkcs11, time
from pkcs11 import Attribute, Mechanism, ObjectClass
session = pkcs11.lib("{MODULE}").get_token(token_label="bench").open(user_pin="{PIN}")
(key,) = session.get_objects({{Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: "ca.issuing@1"}})
began = time.perf_counter()
for number in range(5000):
    key.sign(number.to_bytes(32, "big"), mechanism=Mechanism.ECDSA)
print(5000 / (time.perf_counter() - began))
"""


def fleet(folder: Path, count: int, *, on_token: bool) -> Path:
    """A fleet whose CAs have their keys there."""
    made = _fleet.make(folder, count)
    text = (made / "pki.toml").read_text()
    store = 'key = { store = "token" }\n' if on_token else 'key = { store = "main" }\n'
    text = text.replace("[ca.root]\n", f"[ca.root]\n{store}").replace("[ca.issuing]\n", f"[ca.issuing]\n{store}")
    text = text.replace("[profile.host]\n", '[profile.host]\nkey = { store = "main" }\n')
    (made / "pki.toml").write_text(text + (TOKEN if on_token else ""))
    (made / "pin").touch(mode=0o600)
    (made / "pin").write_text(PIN)
    return made


def apply(folder: Path, count: int) -> Ran:
    """One apply of everything but the CAs, by one worker: a token has one thread anyhow."""
    shutil.rmtree(folder / ".pkicode", ignore_errors=True)
    _fleet.apply_authorities(folder)
    ran = run(PKICODE, "-q", "apply", "-y", "--jobs", "1", cwd=folder)
    if (found := _fleet.issued(folder)) != count:
        sys.exit(f"{count} certificates were asked for and {found} are in the database:\n{ran.output[-2000:]}")
    return ran


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--n", type=int, default=5_000)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pkicode-bench-") as name:
        work = Path(name)
        (work / "softhsm2.conf").write_text(f"directories.tokendir = {work}/tokens\nobjectstore.backend = file\n")
        os.environ["SOFTHSM2_CONF"] = str(work / "softhsm2.conf")
        raw, token, file = [], [], []
        on_token, in_file = (fleet(work / one, given.n, on_token=one == "token") for one in ("token", "file"))
        for _ in range(given.rounds):
            # A new token each time: a CA's key is never made twice.
            shutil.rmtree(work / "tokens", ignore_errors=True)
            (work / "tokens").mkdir()
            made = ("--init-token", "--free", "--label", "bench", "--so-pin", "12345678", "--pin", PIN)
            subprocess.run(["softhsm2-util", *made], check=True, stdout=subprocess.DEVNULL)
            token.append(apply(on_token, given.n))
            raw.append(float(run(sys.executable, "-c", RAW).output))
            file.append(apply(in_file, given.n))
        (work / "sample").mkdir()
        if (good := _fleet.verified(on_token, work / "sample")) != min(200, given.n):
            sys.exit(f"openssl verify accepts only {good} of the sample")
        rate = given.n / statistics.median(one.wall for one in token)
        tell("token.raw", statistics.median(raw), rates=[round(one) for one in raw])
        tell(
            "token.apply",
            rate,
            of_raw=round(rate / statistics.median(raw), 3),
            cpu=round(token[-1].cpu / given.n * 1e6),
        )
        tell(
            "token.file", given.n / statistics.median(one.wall for one in file), cpu=round(file[-1].cpu / given.n * 1e6)
        )


if __name__ == "__main__":
    main()
