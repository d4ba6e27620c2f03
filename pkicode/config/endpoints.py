"""Where a certificate is served, as its [cert.X] says: what a scan means by `cert.NAME`.  Asks nobody there."""

from pkicode.config.reader import Config
from pkicode.config.rows import filler, rows
from pkicode.model.address import Address


def endpoints(config: Config, address: Address) -> list[str]:
    """The endpoints of one certificate, or of every row of a fan-out, as texts of model/target.py.

    Raises:
        LookupError: no such certificate is declared, or no such row.
        ConfigError: the rows of the fan-out are wrong.
    """
    block = config.block("cert", address.name)
    if block is None:
        raise LookupError(f"there is no [cert.{address.name}]")
    fill = filler(block)
    meant = [fill(row) for row in rows(config, block) if not address.key or row.key == address.key]
    if not meant:
        raise LookupError(f"cert.{address.name} has no row `{address.key}`" if address.key else f"`{address}` is empty")
    return [text for spec in meant for text in spec.endpoints]
