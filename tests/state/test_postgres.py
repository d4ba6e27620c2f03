"""What only the PostgreSQL store does: its server's settings, its roles, TLS, time, and connections that end."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGCONT

import pytest
from attrs import evolve, frozen

from pkicode.adapters import sql
from pkicode.adapters.backup import as_file
from pkicode.adapters.holder import here
from pkicode.adapters.postgres import TABLES, PostgresDatabase
from pkicode.adapters.postgres_schema import altered, roles
from pkicode.adapters.store import open_postgres
from pkicode.adapters.verify import verify
from pkicode.config.state_url import Server, server
from pkicode.model.problem import LeaseHeld, LeaseLost, StateError
from pkicode.ports import Want
from tests.cutting import Cut, cutting, speaking_tls
from tests.oracles import openssl
from tests.postgres import Postgres, no_password, running
from tests.state.postgres import made, opened
from tests.state.samples import NEW, NOW, certificate, crl, held, revocation, write


@pytest.fixture
def place(postgres: Postgres) -> Server:
    """A schema of its own, with nothing in it."""
    return postgres.schema()


PASSWORD = "planted-7f31"


def refused(run, place: Server, match: str, *, read_only: bool = False, **how: object) -> StateError:
    options = {"password": no_password, "roots": "", "create": NEW, "read_only": read_only, **how}
    with pytest.raises(StateError, match=match) as caught:
        run(open_postgres(place, **options))
    assert caught.value.help
    return caught.value


def test_where_nothing_was_made_there_is_no_state(run, place):
    for read_only in (False, True):
        with pytest.raises(FileNotFoundError):
            run(open_postgres(place, no_password, "", create=NEW, read_only=read_only))


def test_making_the_state_twice_changes_nothing(run, place):
    assert run(made(place)) == (0, sql.SCHEMA)
    assert run(made(place, evolve(NEW, lineage="another"))) == (sql.SCHEMA, sql.SCHEMA)
    store = run(opened(place))
    assert run(store.about()).lineage == NEW.lineage
    run(store.close())


def test_an_older_state_is_brought_up_by_its_owner_and_until_then_refused(run, place, postgres):
    run(made(place))
    postgres.sql(
        f"SET search_path = {place.schema}; DROP TABLE blocked, matches, archives; UPDATE meta SET value = '1'"
        " WHERE key = 'schema'"
    )
    assert "state migrate" in refused(run, place, f"has schema 1; this pkicode needs {sql.SCHEMA}").help
    assert run(made(place)) == (1, sql.SCHEMA)
    store = run(opened(place))
    assert run(store.entries()) == {}
    run(store.close())


@pytest.mark.parametrize("word", ["project", "env"])
def test_a_state_of_another_project_or_env_is_refused(run, place, word):
    run(made(place))
    refused(run, place, "other", create=evolve(NEW, **{word: "other"}))
    with pytest.raises(StateError, match="other"):
        run(made(place, evolve(NEW, **{word: "other"})))


def test_a_state_of_a_newer_pkicode_is_refused(run, place, postgres):
    run(made(place))
    postgres.sql(f"UPDATE {place.schema}.meta SET value = '99' WHERE key = 'schema'")
    assert "upgrade" in refused(run, place, "schema 99").help


def test_states_in_two_schemas_know_nothing_of_each_other(run, postgres):
    one, other = run(opened(postgres.schema())), run(opened(postgres.schema(), evolve(NEW, project="other")))
    lease = run(one.acquire("project", holder="alice", now=NOW, ttl=60))
    run(one.commit(write(intents=[certificate(1)]), lease))
    assert run(other.acquire("project", holder="bob", now=NOW, ttl=60)).epoch == 1
    assert run(other.intents()) == []
    run(one.close())
    run(other.close())


def test_a_database_that_cannot_be_reached_is_told_with_what_to_do(run, place, postgres):
    refused(run, evolve(place, port=1), "cannot be reached")
    refused(run, evolve(place, database="nowhere"), '"nowhere" does not exist')
    refused(run, evolve(place, user="stranger"), "does not let stranger in")
    refused(run, evolve(place, host="/nowhere"), "cannot be reached")


def test_a_reader_writes_nothing_whatever_is_asked_of_it(run, place):
    run(made(place))
    store = run(open_postgres(place, no_password, "", create=NEW, read_only=True))
    with pytest.raises(StateError, match="opened for reading only"):
        run(store.acquire("project", holder="alice", now=NOW, ttl=60))
    assert run(store.leases()) == []
    run(store.close())


def setting(run, store, name: str) -> str:
    return run(store.database.connection.fetchval("SELECT current_setting($1)", name))


def test_a_commit_is_durable_although_the_role_was_told_otherwise(run, place, postgres):
    run(made(place))
    postgres.sql("CREATE ROLE hasty SUPERUSER LOGIN; ALTER ROLE hasty SET synchronous_commit = off")
    store = run(opened(evolve(place, user="hasty")))
    assert setting(run, store, "synchronous_commit") == "on"
    run(store.close())


def test_a_server_that_forgets_is_refused(run):
    with running(fsync="off") as server, pytest.raises(StateError, match="fsync = off"):
        run(made(server.schema()))


def test_a_server_whose_clock_is_elsewhere_is_refused(run, place, monkeypatch):
    run(made(place))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 120)
    refused(run, place, "120 s apart")
    monkeypatch.setattr(time, "time", lambda: real() - 30)
    store = run(opened(place))
    assert store.database.skew == 30
    lease = run(store.acquire("project", holder="alice", now=NOW, ttl=60))
    assert lease.expires == NOW + 90
    run(store.close())


def test_a_full_batch_names_the_row_that_refuses_it(run, place):
    store = run(opened(place))
    lease = run(store.acquire("project", holder="alice", now=NOW, ttl=60))
    number = run(store.template("{}", lease=lease))
    rows = [(held(str(one), number), "{}") for one in range(600)]
    run(store.commit(write(held=rows), lease))
    again = [(evolve(row, version=1 if row.key != "417" else 7), "{}") for row, _ in rows]
    with pytest.raises(StateError, match=r'cert\.fleet\["417"\]@1 is not what it was'):
        run(store.commit(write(held=again), lease))
    assert {one.version for one in run(store.held())} == {1}
    run(store.commit(write(held=[(evolve(row, version=1), "{}") for row, _ in rows]), lease))
    assert {one.version for one in run(store.held())} == {2}
    run(store.close())


def test_more_rows_than_are_fetched_at_once_come_in_order(run, place):
    store = run(opened(place))
    lease = run(store.acquire("project", holder="alice", now=NOW, ttl=60))
    rows = [certificate(one) for one in range(5000)]
    run(store.commit(write(intents=rows), lease))
    assert run(store.certificates(Want())) == rows
    ids = [(one.issuer_key, one.serial) for one in rows[::7]]
    run(store.commit(write(settled=[]), lease))
    assert run(store.duty_of(ids)) == ["[]"] * len(ids)
    run(store.close())


# Leases, and sessions that end.


def test_a_holder_whose_session_ended_on_this_machine_is_waited_for_no_longer(run, place):
    one, other = run(opened(place)), run(opened(place))
    run(one.acquire("project", holder="alice", now=NOW, ttl=60))
    with pytest.raises(LeaseHeld):
        run(other.acquire("project", holder="bob", now=NOW + 30, ttl=60))
    # The process lives and its session is gone: a cable may be mended within the grace.
    run(one.close())
    with pytest.raises(LeaseHeld):
        run(other.acquire("project", holder="bob", now=NOW + 19, ttl=60))
    assert run(other.acquire("project", holder="bob", now=NOW + 20, ttl=60)).epoch == 2
    run(other.close())


def test_a_session_that_lives_keeps_its_lease_until_it_expires_wherever_it_is(run, place, postgres):
    one, other = run(opened(place)), run(opened(place))
    lease = run(one.acquire("project", holder="alice", now=NOW, ttl=60))
    # A process of this number may exist on no machine or on many: the session is what counts.
    postgres.sql(f"UPDATE {place.schema}.leases SET pid = 4194999, host = '{here()}'")
    with pytest.raises(LeaseHeld):
        run(other.acquire("project", holder="bob", now=NOW + 59, ttl=60))
    assert run(other.acquire("project", holder="bob", now=NOW + 60, ttl=60)).epoch == lease.epoch + 1
    with pytest.raises(LeaseLost):
        run(one.commit(write(), lease))
    run(one.close())
    run(other.close())


def test_who_failed_to_get_a_lease_does_not_keep_the_next_from_seeing_that_it_is_free(run, place):
    one, other, third = (run(opened(place)) for _ in range(3))
    run(one.acquire("project", holder="alice", now=NOW, ttl=60))
    run(one.close())
    with pytest.raises(LeaseHeld):
        run(other.acquire("project", holder="bob", now=NOW + 1, ttl=60))
    assert run(third.acquire("project", holder="carol", now=NOW + 30, ttl=60)).epoch == 2
    run(other.close())
    run(third.close())


def test_a_lease_that_was_given_back_leaves_nothing_behind_in_a_session_that_goes_on(run, place):
    first, second, third = (run(opened(place)) for _ in range(3))
    run(first.release(run(first.acquire("publish/ca.a", holder="alice", now=NOW, ttl=60))))
    run(second.acquire("publish/ca.a", holder="bob", now=NOW, ttl=60))
    run(second.close())
    assert run(third.acquire("publish/ca.a", holder="carol", now=NOW + 20, ttl=60)).epoch == 3
    run(first.close())
    run(third.close())


def test_one_store_is_used_by_many_at_once(run, place):
    store = run(opened(place))

    async def one(number: int) -> int:
        lease = await store.acquire(f"publish/ca.{number}", holder="alice", now=NOW, ttl=60)
        sequence = await store.commit(write(intents=[certificate(number)]), lease)
        await store.certificates(Want())
        await store.release(lease)
        return sequence

    async def many() -> list[int]:
        return await asyncio.gather(*map(one, range(20)))

    assert sorted(run(many())) == list(range(1, 21))
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    assert run(store.database.connection.fetchval(locks)) == 0
    run(store.close())


@pytest.mark.heavy
def test_a_write_that_ends_its_connection_again_and_again_is_given_up(run, place, postgres):
    store = run(opened(place))
    lease = run(store.acquire("project", holder="alice", now=NOW, ttl=60))
    ending = "BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END"
    postgres.sql(
        f"SET search_path = {place.schema}; CREATE FUNCTION ending() RETURNS trigger LANGUAGE plpgsql AS $${ending}$$;"
        " CREATE TRIGGER planted BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION ending()"
    )
    with pytest.raises(StateError, match="cannot be reached"):
        run(store.commit(write(), lease))
    postgres.sql(f"DROP TRIGGER planted ON {place.schema}.events")
    assert run(store.commit(write(), lease)) == 1
    run(store.close())


def test_a_session_the_server_ended_is_opened_again_and_has_its_lease_still(run, place, postgres):
    store, other = run(opened(place)), run(opened(place))
    lease = run(store.acquire("project", holder="alice", now=NOW, ttl=60))
    pid = run(store.database.connection.fetchval("SELECT pg_backend_pid()"))
    postgres.sql(f"SELECT pg_terminate_backend({pid})")
    assert run(store.commit(write(intents=[certificate(1)]), lease)) == 1
    assert run(store.database.connection.fetchval("SELECT pg_backend_pid()")) != pid
    with pytest.raises(LeaseHeld):  # the advisory lock was taken again
        run(other.acquire("project", holder="bob", now=NOW + 59, ttl=60))
    run(store.close())
    run(other.close())


@pytest.mark.invariant(7)
def test_a_writer_that_stands_still_within_its_transaction_is_let_go_of(run, place, postgres):
    """And when it wakes, it sees that somebody else went on."""
    script = f"""
import asyncio, os, signal
from attrs import evolve, frozen
from pkicode.adapters import postgres_connection
from pkicode.ports import Write
postgres_connection._IDLE_SECONDS = 1
from tests.state.postgres import opened
from tests.state.samples import NOW, write
from pkicode.config.state_url import server

class Sleepy(dict):
    def items(self):
        os.kill(os.getpid(), signal.SIGSTOP)
        return super().items()

async def main():
    store = await opened(server({postgres.url(schema=place.schema)!r}))
    lease = await store.acquire("project", holder="sleeper", now=NOW, ttl=60)
    try:
        await store.commit(write(meta=Sleepy(approver="x")), lease)
    except Exception as error:
        print(type(error).__name__)
    await store.close()

asyncio.run(main())
"""
    environ = {"PYTHONPATH": os.getcwd(), "PATH": os.environ["PATH"]}
    sleeper = subprocess.Popen([sys.executable, "-c", script], env=environ, stdout=subprocess.PIPE, text=True)
    try:
        while Path(f"/proc/{sleeper.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            os.sched_yield()
        store = run(opened(place))
        newer = run(store.acquire("project", holder="next", now=NOW + 60, ttl=60))
        assert run(store.commit(write(), newer)) == 1
        os.kill(sleeper.pid, SIGCONT)
        out, _ = sleeper.communicate(timeout=60)
    finally:
        sleeper.kill()
        sleeper.wait()
    assert out == "LeaseLost\n"
    assert run(store.about()).sequence == 1
    run(store.close())


@pytest.mark.invariant(13)
@pytest.mark.parametrize("heard", [False, True], ids=["COMMIT was never heard", "its answer was lost"])
def test_a_commit_is_done_once_however_the_connection_ends(run, place, postgres, heard):
    run(made(place))
    with cutting(postgres.port) as proxy:
        store = run(opened(evolve(place, port=proxy.port)))
        lease = run(store.acquire("project", holder="alice", now=NOW, ttl=60))
        assert run(store.commit(write(), lease)) == 1
        proxy.cut = Cut(0, heard)
        assert run(store.commit(write(intents=[certificate(1)], meta={"approver": "x"}), lease)) == 2
        assert proxy.done
        assert [one.sequence for one in run(store.audit())] == [1, 2]
        assert run(store.intents()) == [certificate(1)]
        run(store.close())


def test_a_lease_whose_answer_was_lost_is_taken_and_not_found_taken(run, place, postgres):
    run(made(place))
    with cutting(postgres.port) as proxy:
        store = run(opened(evolve(place, port=proxy.port)))
        proxy.cut = Cut(0, heard=True)
        assert run(store.acquire("project", holder="alice", now=NOW, ttl=60)).epoch == 1
        assert proxy.done
        run(store.close())


def test_who_waits_for_changes_hears_of_a_commit_at_once(run, place):
    async def told() -> float:
        writer, reader = await opened(place), await opened(place, read_only=True)
        lease = await writer.acquire("project", holder="alice", now=NOW, ttl=60)
        await reader.database.changed(0)
        begun = asyncio.get_running_loop().time()
        waiting = asyncio.create_task(reader.database.changed(30))
        await writer.commit(write(), lease)
        await waiting
        await writer.close()
        await reader.close()
        return asyncio.get_running_loop().time() - begun

    assert run(told()) < 5


# Who may do what.


ACTIONS: dict[str, Callable] = {
    "read the inventory": lambda store: store.certificates(Want()),
    "read lists": lambda store: store.artefacts(),
    "write": lambda store: store.acquire("project", holder="x", now=NOW + 1000, ttl=60),
}
MAY = {
    "planner": {"read the inventory", "read lists"},
    "responder": {"read lists"},
    "applier": {"read the inventory", "read lists", "write"},
}


@pytest.fixture
def with_roles(run, place, postgres) -> Iterator[Server]:
    """A state with something in it, and somebody to log in as each role."""
    store = run(opened(place))
    lease = run(store.acquire("project", holder="alice", now=NOW, ttl=60))
    run(store.commit(write(intents=[certificate(1)], artefacts=[crl("5")], revocations=[revocation("77")]), lease))
    run(store.release(lease))
    run(store.close())
    for _ in range(2):  # twice is once
        postgres.sql(roles(place.schema))
    for role in MAY:
        postgres.sql(f"CREATE ROLE {place.schema}_{role[:4]} LOGIN IN ROLE {place.schema}_{role}")
    yield place
    names = ", ".join(f"{place.schema}_{role[:4]}, {place.schema}_{role}" for role in MAY)
    postgres.sql(f"DROP SCHEMA {place.schema} CASCADE; DROP ROLE {names}")


@pytest.mark.parametrize("role", MAY)
def test_a_role_may_do_what_it_is_for_and_nothing_else(run, with_roles, role):
    somebody = evolve(with_roles, user=f"{with_roles.schema}_{role[:4]}")
    store = run(open_postgres(somebody, no_password, "", create=NEW))
    for what, action in ACTIONS.items():
        if what in MAY[role]:
            run(action(store))
        else:
            with pytest.raises(StateError, match="may not do this") as caught:
                run(action(store))
            assert "state roles" in caught.value.help
    run(store.close())


def test_an_applier_commits_everything_a_commit_can_hold(run, with_roles):
    store = run(open_postgres(evolve(with_roles, user=f"{with_roles.schema}_appl"), no_password, "", create=NEW))
    lease = run(store.acquire("project", holder="alice", now=NOW, ttl=60))
    number = run(store.template("{}", lease=lease))
    row = held("a", number)
    run(store.commit(write(held=[(row, "{}")], intents=[certificate(2)], artefacts=[crl("6")]), lease))
    run(store.commit(write(forgotten=[evolve(row, version=1)], revocations=[revocation("78")]), lease))
    run(store.break_lease("project", now=NOW, actor="x"))
    run(store.close())


@pytest.mark.parametrize(
    "table", ["events", "certificates", "revocations", "blocked", "matches", "artefacts", "leases", "archives"]
)
def test_an_applier_deletes_nothing_that_was_told(run, with_roles, postgres, table):
    with pytest.raises(AssertionError, match="permission denied"):
        postgres.sql(f"SET ROLE {with_roles.schema}_applier; DELETE FROM {with_roles.schema}.{table}")


def test_an_upgrade_gives_the_roles_what_the_new_tables_need(run, with_roles, postgres):
    postgres.sql(
        f"SET search_path = {with_roles.schema}; DROP TABLE archives; UPDATE meta SET value = '2' WHERE key = 'schema'"
    )
    assert run(made(with_roles)) == (2, sql.SCHEMA)
    planner = run(open_postgres(evolve(with_roles, user=f"{with_roles.schema}_plan"), no_password, "", create=NEW))
    assert run(planner.archives()) == []
    run(planner.close())
    with pytest.raises(AssertionError, match="permission denied"):
        postgres.sql(f"SET ROLE {with_roles.schema}_responder; SELECT * FROM {with_roles.schema}.archives")


def test_an_applier_rewrites_no_audit(run, with_roles, postgres):
    with pytest.raises(AssertionError, match="permission denied"):
        postgres.sql(f"SET ROLE {with_roles.schema}_applier; UPDATE {with_roles.schema}.events SET actor = 'mallory'")


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DROP INDEX certificates_serial", "certificates serial issuer_key is not unique any more"),
        ("ALTER TABLE revocations DROP CONSTRAINT revocations_pkey", "revocations issuer_key serial is not unique"),
        ("CREATE RULE nothing AS ON INSERT TO revocations DO INSTEAD NOTHING", "rule nothing does not belong here"),
    ],
)
def test_what_was_planted_in_the_tables_is_seen(run, place, postgres, statement, found):
    run(made(place))
    database = PostgresDatabase(place, no_password, "", read_only=True)
    assert run(altered(database)) == []
    postgres.sql(f"SET search_path = {place.schema}; {statement}")
    assert any(found in one for one in run(altered(database)))
    run(database.close())


_NOTHING = "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;"
_PLANTED = [
    (f"{_NOTHING} CREATE TRIGGER t BEFORE INSERT ON revocations FOR EACH ROW EXECUTE FUNCTION nothing()", "trigger t"),
    ("CREATE RULE r AS ON INSERT TO revocations DO INSTEAD NOTHING", "rule r"),
    ("CREATE POLICY p ON revocations", "policy p"),
    ("ALTER TABLE blocked RENAME TO b; CREATE VIEW blocked AS SELECT * FROM b", "view blocked"),
]


@pytest.mark.parametrize(("statement", "what"), _PLANTED)
def test_a_state_that_somebody_planted_something_in_is_not_opened(run, place, postgres, statement, what):
    """With such a trigger a revocation was told as made, and stood on no list."""
    run(made(place))
    postgres.sql(f"SET search_path = {place.schema}; {statement}")
    for read_only in (True, False):
        told = refused(run, place, f"was altered: the {what} is in it", read_only=read_only)
        assert "`pkicode state verify`" in told.help
    with pytest.raises(StateError, match=f"was altered: the {what} is in it"):
        run(made(place))


def test_what_others_have_beside_the_tables_is_theirs(run, place, postgres):
    run(made(place))
    postgres.sql(
        f"SET search_path = {place.schema}; CREATE VIEW seen AS SELECT * FROM meta; CREATE TABLE own (x int);"
        " CREATE RULE r AS ON INSERT TO own DO INSTEAD NOTHING"
    )
    run(run(opened(place)).close())


def test_no_table_of_a_state_is_left_out(run, place, postgres):
    run(made(place))
    there = postgres.sql(f"SELECT relname FROM pg_class WHERE relnamespace = '{place.schema}'::regnamespace"
                         " AND relkind = 'r'").split()  # fmt: skip
    assert sorted(there) == sorted(TABLES)


def test_a_copy_that_a_killed_process_left_beside_the_state_goes_with_the_next(run, place, tmp_path):
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    left, stays = (tmp_path / f".copy.draft.{one}.abc_1234" for one in (gone.pid, os.getppid()))
    for folder in (left, stays):
        folder.mkdir()
        (folder / "state.db").write_bytes(b"x")
    store = run(opened(place))

    async def copied() -> None:
        async with as_file(store, tmp_path) as path:
            assert verify(path, None) == []

    run(copied())
    run(store.close())
    assert list(tmp_path.iterdir()) == [stays]


# On the way to the server.


@frozen
class Guarded:
    """A server behind TLS that asks for a password; its certificate is for localhost."""

    port: int
    roots: str

    def place(self, **changes: str) -> Server:
        return evolve(server(f"postgresql://pki@localhost:{self.port}/pki?sslmode=verify-full"), **changes)


@pytest.fixture(scope="module")
def guarded(quick_folder: Path) -> Iterator[Guarded]:
    folder = quick_folder / "tls"
    folder.mkdir()
    options = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=db", "-days", "2")
    name = ("-addext", "subjectAltName=DNS:localhost")
    key, certificate = folder / "server.key", folder / "server.pem"
    openssl("req", "-x509", *options, *name, "-keyout", key, "-out", certificate)
    with running() as there:
        there.sql(f"CREATE ROLE pki LOGIN PASSWORD '{PASSWORD}'")
        there.sql("CREATE DATABASE pki OWNER pki")
        hba = "host pki pki 127.0.0.1/32 scram-sha-256\nhost all postgres 127.0.0.1/32 trust\n"
        (there.folder / "data" / "pg_hba.conf").write_text(hba)
        there.sql("SELECT pg_reload_conf()")
        with speaking_tls(there.port, certificate, key) as port:
            yield Guarded(port, str(certificate))


async def right_password() -> str:
    return PASSWORD


async def wrong_password() -> str:
    return "planted-9e20"


def test_a_server_is_believed_by_its_certificate_and_its_name(run, guarded):
    right = {"password": right_password, "roots": guarded.roots}
    numbered = {"host": "127.0.0.1"}
    for place in (guarded.place(), guarded.place(sslmode="verify-ca", **numbered)):
        with pytest.raises(FileNotFoundError):  # it was let in, and nothing is there
            run(open_postgres(place, right_password, guarded.roots, create=NEW))
    refused(run, guarded.place(**numbered), "not to be trusted", **right)
    refused(run, guarded.place(), "not to be trusted", password=right_password)
    refused(run, guarded.place(sslmode="disable"), "cannot be reached", **right)


def test_a_wrong_password_is_told_without_saying_it(run, guarded):
    error = refused(run, guarded.place(), "does not let pki in", password=wrong_password, roots=guarded.roots)
    assert "planted" not in error.message + error.help + repr(error.__cause__)
    assert "planted" not in repr(PostgresDatabase(guarded.place(), wrong_password, guarded.roots, read_only=True))


def test_roots_that_cannot_be_read_are_told(run, guarded):
    refused(run, guarded.place(), "sslrootcert cannot be read", roots="/nowhere.pem")
