"""`pkicode serve`: what answers the network.  It holds no key and writes nothing."""

import asyncio
import time

import click

from pkicode.cli.session import Session, frozen_clock


@click.group("serve")
def serve_command() -> None:
    """Answer the network."""


@serve_command.command("ocsp")
@click.option("--bind", metavar="HOST:PORT", default="127.0.0.1:8889", show_default=True, help="Where to listen.")
@click.option("--pack", "packs", metavar="URL", multiple=True, help="A published pack; else the state of pki.toml.")
@click.option("--every", type=click.IntRange(1), default=10, show_default=True, help="Seconds between looks for news.")
@click.pass_obj
def serve_ocsp(session: Session, *, bind: str, packs: tuple[str, ...], every: int) -> None:
    """Answer OCSP requests from what was signed ahead, until SIGTERM.

    With --pack neither pki.toml nor state is looked at.  SIGHUP looks for news at once.
    """
    from pkicode.adapters.packs import PackAt
    from pkicode.project.answers import Answers
    from pkicode.server.serving import Serving, serve

    host, colon, port = bind.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"`{bind}` is not HOST:PORT, as in 127.0.0.1:8889", param_hint="--bind")
    frozen = frozen_clock()
    answers = None if packs else Answers(session.project().state)
    serving = Serving(
        sources=[answers.look] if answers else [PackAt(one).look for one in packs],
        host=host.strip("[]"),
        port=int(port),
        every=every,
        wait=answers.hear if answers else asyncio.sleep,
        clock=lambda: int(time.time()) if frozen is None else frozen,
        tell=session.note,
    )
    asyncio.run(serve(serving))
