"""States in PostgreSQL, as the tests of the store make them."""

from pkicode.adapters.postgres import PostgresDatabase
from pkicode.adapters.postgres_schema import migrate
from pkicode.adapters.sql import NewState
from pkicode.adapters.store import StateStore, open_postgres
from pkicode.config.state_url import Server
from tests.postgres import no_password
from tests.state.samples import NEW


async def made(server: Server, new: NewState = NEW) -> tuple[int, int]:
    """Make the tables, or bring them up."""
    database = PostgresDatabase(server, no_password, "", read_only=False)
    try:
        return await migrate(database, new)
    finally:
        await database.close()


async def opened(server: Server, new: NewState = NEW, *, read_only: bool = False) -> StateStore:
    """The store, its tables made where they are not."""
    if not read_only:
        await made(server, new)
    return await open_postgres(server, no_password, "", create=new, read_only=read_only)
