"""Certificates of CSRs: an apply, durable in SQLite, against `cfssl serve` with sqlite; whole commands, cold."""

import _cfssl
import _fleet
from _issue import bench

if __name__ == "__main__":
    bench("csr", lambda folder, count: list(_cfssl.signing(_fleet.requests(folder, count))), (7.0, 16.0))
