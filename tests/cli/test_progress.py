"""What long work says of itself on stderr."""

from itertools import pairwise

import pytest

from pkicode.cli.progress import _Pace, once
from pkicode.model.event import Event
from pkicode.views.event import line


def test_a_line_tells_how_far_how_fast_and_how_long():
    event = Event("cert", "cert.fleet", 32_500, 90_000, address="cert.fleet")
    assert line(event, 4_923.4) == "cert 32,500/90,000, 4,923/s, 12 s left: cert.fleet"
    assert line(event) == "cert 32,500/90,000: cert.fleet"


def test_what_has_no_total_has_no_time_left():
    assert line(Event("crl", "crl.issuing"), 3.0) == "crl: crl.issuing"


def test_the_last_event_is_no_time_away():
    assert line(Event("cert", "", 500, 500), 10.0) == "cert 500/500, 10/s, 0 s left"


def test_a_pace_is_known_from_the_second_event_of_a_stage_on():
    pace = _Pace()
    rates = [pace.of(Event("cert", "", done, 1_000)) for done in (500, 500, 1_000)]
    assert rates[:2] == [0.0, 0.0]
    assert rates[2] > 0
    assert pace.of(Event("crl", "", 1, 2)) == 0.0


def test_a_pace_falls_when_nothing_more_is_done():
    pace = _Pace()
    pace.of(Event("cert", "", 0, 10))
    rates = [pace.of(Event("cert", "", 5, 10)) for _ in range(1_000)]
    assert all(later <= earlier for earlier, later in pairwise(rates))


FAILED = Event("output", "output.portal: the deploy hook failed", address="output.portal", failed=True, again=True)


def test_a_failure_that_the_end_tells_is_not_told_before_and_an_alarm_is():
    told: list[Event] = []
    alarm = Event("crl", "crl.root: somebody else's list", address="crl.root", failed=True)
    with once(told.append) as emit:
        emit(FAILED)
        emit(alarm)
    assert told == [alarm]


def test_a_failure_is_told_where_the_end_does_not_come():
    told: list[Event] = []

    def interrupted() -> None:
        with once(told.append) as emit:
            emit(FAILED)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert told == [FAILED]
