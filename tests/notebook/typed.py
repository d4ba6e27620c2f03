"""What a type checker knows of the public names: checked by mypy --strict in test_types.py, never run."""

from datetime import UTC, datetime
from typing import assert_type

import pandas as pd

import pkicode


def blocking() -> None:
    pki = pkicode.open("pki.toml", env="prod", variables={"domain": "corp.example"})
    assert_type(pki, pkicode.Pki)
    plan = pki.plan("+60d", only="cert.mesh*", allow={"issue": 12_000})
    assert_type(plan, pkicode.Planned)
    assert_type(plan.df, pd.DataFrame)
    assert_type(pki.inventory(), pd.DataFrame)
    assert_type(pki.forecast(until="2036-01-01"), pkicode.Foretold)
    assert_type(pki.forecast(until="2036-01-01").df, pd.DataFrame)
    assert_type(pkicode.read_frame("inventory.parquet"), pd.DataFrame)
    found = pkicode.scan(["www.example.org", "10.0.0.0/24:443"], checks="quick", rate=100, trust="roots.pem")
    assert_type(found, pkicode.Scanned)
    assert_type(found.endpoints, pd.DataFrame)
    assert_type(pki.scan("cert.portal").diff(found), pd.DataFrame)
    assert_type(found.drift(pki), pd.DataFrame)
    assert_type(pki.drift(), pd.DataFrame)
    done = plan.apply(jobs=2, emit=lambda event: print(event.address))
    assert_type(done, pkicode.Applied)
    assert_type(done.problems, tuple[pkicode.Problem, ...])
    text: str = pki.explain("cert.portal")
    print(text, plan.has_changes)


async def awaited() -> None:
    pki = pkicode.open()
    plan = await pki.aplan(datetime(2027, 1, 11, tzinfo=UTC), except_=["crl.*"])
    assert_type(await plan.aapply(), pkicode.Applied)
    assert_type(await pki.ainventory(), pd.DataFrame)
    assert_type(await pkicode.ascan("www.example.org"), pkicode.Scanned)


def wrong() -> None:
    pkicode.opne("pki.toml")  # type: ignore[attr-defined]
    pkicode.scan(443)  # type: ignore[arg-type]
    pkicode.open("pki.toml").plan(60)  # type: ignore[arg-type]
    pkicode.open("pki.toml").apply("plan.json")  # type: ignore[call-arg]


def errors() -> int:
    try:
        blocking()
    except pkicode.ConfigError as error:
        return len(error.problems)
    except (pkicode.Denied, pkicode.LeaseHeld, pkicode.StalePlan) as error:
        return error.exit_code
    return 0
