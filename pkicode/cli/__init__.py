"""The command line: the click tree, exit codes, and errors as people read them.  Decides nothing about a PKI.

Subcommands live in modules of their own and are imported when they are asked for, so that `--version` costs nothing.
"""

import atexit
import gc
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from pkicode.cli.session import report, session_of
from pkicode.model.problem import PkicodeError
from pkicode.model.version import VERSION

USAGE = 64
"""sysexits.h EX_USAGE; click's own 2 would read as "changes present"."""
INTERRUPTED = 130

_COMMANDS = {
    "init": "files",
    "validate": "files",
    "fmt": "files",
    "config": "files",
    "schema": "files",
    "plan": "plan",
    "apply": "apply",
    "approve": "approve",
    "revoke": "revoke",
    "forecast": "forecast",
    "status": "status",
    "show": "look",
    "explain": "look",
    "graph": "look",
    "inventory": "inventory",
    "export": "inventory",
    "state": "state",
    "audit": "state",
    "crl": "crl",
    "keystore": "keystore",
    "ceremony": "ceremony",
    "serve": "serve",
    "ocsp": "ocsp",
    "scan": "scan",
    "drift": "scan",
    "completion": "completion",
}
"""Command -> its module; the object is named like the command."""


class _Lazy(click.Group):
    """Imports a subcommand's module when its name is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click asks with the context
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - see above
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = getattr(import_module(f"pkicode.cli.{module}"), f"{cmd_name}_command")
        if not isinstance(command, click.Command):
            raise TypeError(f"pkicode.cli.{module}.{cmd_name}_command is no click command")
        return command


@click.group("pkicode", cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="pkicode %(version)s")
@click.option("-C", "folder", metavar="DIR", type=click.Path(path_type=Path), default=".", help="Start in DIR.")
@click.option("-f", "file", metavar="FILE", type=click.Path(path_type=Path), help="Use FILE as pki.toml.")
@click.option("--env", metavar="NAME", help="Merge the overlay [env.NAME].")
@click.option("--var", "variables", metavar="K=V", multiple=True, help="Set a variable of [vars].")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), help="Colour; it never carries meaning alone.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no notes on stderr.")
@click.option("-v", "--verbose", is_flag=True, help="Every step on stderr.")
@click.pass_context
def root(context: click.Context, /, **options: object) -> None:
    """PKI as code: certificates, CAs and revocation described in one pki.toml, planned and applied."""
    context.obj = session_of(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (docs/reference/exit-codes.md)."""
    # A plan of 100,000 rows is large and has no cycles: looking for some after every 700 objects costs a tenth of it.
    gc.set_threshold(100_000, 50, 100)
    # Looking for cycles once more in what is thrown away as a whole costs a seventh of a short command.
    atexit.register(gc.freeze)
    # The library counts octets where X.520 counts characters: a CA may well be called something in another script.
    warnings.filterwarnings("ignore", "Attribute's length")
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter of a name must not end an apply.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = root.main(arguments, prog_name="pkicode", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; what was recorded stays, and the same command goes on from there", err=True)
        return INTERRUPTED
    except PkicodeError as error:
        report(error)
        return error.exit_code
    except BrokenPipeError:
        # The reader went away (`| head`).  Python flushes stdout once more at exit: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        name = f": {error.filename}" if error.filename else ""
        report(PkicodeError(f"{error.strerror}{name}", help="check the path, its permissions and the free space"))
        return 1
    except Exception as error:
        if "-v" in sys.argv or "--verbose" in sys.argv:
            raise
        report(
            PkicodeError(
                f"pkicode met something it does not expect: {type(error).__name__}: {error}",
                help="`pkicode state verify` says whether the state was altered; -v before the command shows where",
            )
        )
        return 1
    return int(code or 0)
