"""The configuration the command is tried on, and running it as a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from attrs import frozen

NOW = "2026-11-23T09:00:00Z"

CONFIG = """\
version = 1

[project]
name = "corp"

[vars]
domain = "corp.example"

[keystore.soft]
type = "file"
path = ".pkicode/keys.db"
passphrase = { file = ".pkicode/passphrase", create = true }

[publish.web]
url = "public"
base_url = "http://pki.corp.example"

[ca.root]
subject = { cn = "Root R${generation}" }
publish = ["web"]

[ca.issuing]
issuer = "root"
subject = { cn = "Issuing A${generation}" }
validity = "5y"
publish = ["web"]

[profile.server]
issuer = "issuing"
eku = ["serverAuth"]

[cert.portal]
profile = "server"
dns = ["portal.${var.domain}"]
output = { chain = "out/portal.pem", key = "out/portal.key" }

[cert.app]
profile = "server"
for_each = { values = ["api", "billing", "search"] }
dns = ["${each.value}.${var.domain}"]
"""

ONE_MORE = """
[cert.new]
profile = "server"
dns = ["new.corp.example"]
"""

COMMAND = [sys.executable, "-c", "import sys; from pkicode.cli import main; sys.exit(main())"]


@frozen
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    """This process's environment, with the package found and the clock at NOW."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PKICODE_NOW": NOW, **more}


def spawn(folder: Path, *arguments: str | Path, stdin: str = "", **environ: str) -> Ran:
    """Run pkicode in `folder` with pipes for its standard streams."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=environment(**environ),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
