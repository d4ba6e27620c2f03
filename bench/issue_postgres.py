"""Certificates with generated keys, durable in PostgreSQL: an apply against `cfssl serve`, one server for both."""

import _cfssl
import _fleet
from _issue import bench
from _postgres import running

if __name__ == "__main__":
    with running(on_disk=True, shared_buffers="256MB", max_wal_size="4GB") as server:
        bench(
            "keys",
            lambda _folder, count: list(_cfssl.generating(map(_fleet.name_of, _fleet.hosts(count)))),
            (4.0, 16.0),
            server,
        )
