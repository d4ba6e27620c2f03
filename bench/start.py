"""How long one waits for nothing: `--version`, `import pkicode`, a plan of the example before it is applied and after;
beside CFSSL, and Python with what all of it stands on.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from _measure import PKICODE, Ran, run, tell

EXAMPLE = Path(__file__).parents[1] / "examples" / "web-and-database"

LIBRARIES = "click, attrs, asyncio, ssl, cryptography.x509"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=11)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pkicode-bench-") as name:
        example, done = Path(name) / "example", Path(name) / "done"
        for folder in (example, done):
            shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".pkicode", "public", "out"))
        run(PKICODE, "apply", "-y", cwd=done)
        # A module that costs half a second must not come in by the way.
        said = run(sys.executable, "-c", "import sys, pkicode; print('pandas' in sys.modules)").output
        commands = {
            "python -c pass": ([sys.executable, "-c", "pass"], None),
            "python, libraries": ([sys.executable, "-c", f"import {LIBRARIES}"], None),
            "cfssl version": (["cfssl", "version"], None),
            "pkicode --version": ([PKICODE, "--version"], 0.15),
            "import pkicode": ([sys.executable, "-c", "import pkicode"], 0.15),
            "import pkicode.project": ([sys.executable, "-c", "import pkicode.project"], None),
            "plan of the example": ([PKICODE, "plan"], 0.5),
            "plan with nothing to do": ([PKICODE, "-C", str(done), "plan"], 0.5),
            "status": ([PKICODE, "-C", str(done), "status"], None),
        }
        ran: dict[str, list[Ran]] = {figure: [] for figure in commands}
        for _ in range(given.rounds):
            for figure, (command, _bar) in commands.items():
                ran[figure].append(run(*command, cwd=example))
        python = statistics.median(one.wall for one in ran["python -c pass"])
        for figure, (_command, bar) in commands.items():
            wall = statistics.median(one.wall for one in ran[figure])
            tell(
                f"start.{figure}",
                wall,
                f"<= {bar} s" if bar else "",
                holds=wall <= bar if bar else None,
                cpu_seconds=round(statistics.median(one.cpu for one in ran[figure]), 3),
                least=round(min(one.wall for one in ran[figure]), 3),
                times_python=round(wall / python, 1),
            )
        tell("start.import-without-pandas", float(said.strip() == "False"), "1", holds=said.strip() == "False")


if __name__ == "__main__":
    main()
