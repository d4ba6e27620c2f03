"""Certificates with generated keys: an apply, durable in SQLite, against /newcert of `cfssl serve` with sqlite."""

import _cfssl
import _fleet
from _issue import bench

if __name__ == "__main__":
    bench("keys", lambda _folder, count: list(_cfssl.generating(map(_fleet.name_of, _fleet.hosts(count)))), (8.0, 12.0))
