"""pkicode completion: click's own completion scripts."""

import click
from click.shell_completion import get_completion_class

from pkicode.cli.session import say


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(context: click.Context, *, shell: str) -> None:
    """Print what makes SHELL complete commands and addresses: eval "$(pkicode completion bash)"."""
    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    say(script(context.find_root().command, {}, "pkicode", "_PKICODE_COMPLETE").source())
