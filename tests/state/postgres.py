"""States in PostgreSQL, as the tests of the store make them."""

from attrs import frozen

from pkicode.adapters import loop
from pkicode.adapters.postgres import PostgresDatabase
from pkicode.adapters.postgres_schema import migrate
from pkicode.adapters.sql import NewState
from pkicode.adapters.store import StateStore, open_postgres
from pkicode.config.state_url import Server, server
from tests.postgres import Postgres, no_password
from tests.state.samples import NEW, NOW


async def made(place: Server, new: NewState = NEW) -> tuple[int, int]:
    """Make the tables, or bring them up."""
    database = PostgresDatabase(place, no_password, "", read_only=False)
    try:
        return await migrate(database, new)
    finally:
        await database.close()


async def opened(place: Server, new: NewState = NEW, *, read_only: bool = False) -> StateStore:
    """The store, its tables made where they are not."""
    if not read_only:
        await made(place, new)
    return await open_postgres(place, no_password, "", create=new, read_only=read_only)


@frozen
class States:
    """A database to be copied: each copy is a state of its own."""

    postgres: Postgres
    database: str

    def new(self) -> str:
        """The URL of another copy."""
        return self.postgres.url(self.postgres.database(self.database))


def empty(postgres: Postgres, project: str) -> States:
    """States of a project in which nothing was done."""
    database = postgres.kept("template1")
    loop.run(made(server(postgres.url(database)), NewState(project, "default", "5f0c2a", NOW)))
    return States(postgres, database)
