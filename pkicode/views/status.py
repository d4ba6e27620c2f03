"""The status of a PKI for people, scripts, Prometheus and Nagios."""

from collections.abc import Iterator

from pkicode.model.counted import counted
from pkicode.model.instants import rfc3339
from pkicode.project.checks import Check, Level, Status
from pkicode.views.table import table
from pkicode.views.text import printable

_ORDER = (Level.CRITICAL, Level.UNKNOWN, Level.WARNING, Level.OK)
_HELP = {
    "rows": "What the state manages.",
    "state_sequence": "Rises with each commit.",
    "state_newest_event_timestamp_seconds": "When the state was last written.",
    "open_intents": "Certificates of which nobody can say yet whether they were signed.",
    "lease_heartbeat_timestamp_seconds": "When the holder of a lease was last heard of.",
    "planned_changes": "What an apply would do now.",
    "next_due_timestamp_seconds": "When there will be something to do.",
    "certificates_due": "Certificates that are due and were not renewed.",
    "certificates_due_first_end_timestamp_seconds": "When the first of them ends.",
    "outputs_pending": "Certificates whose files are not written, or whose deploy hook failed.",
    "revocations_pending": "Certificates, or keys, that an entry in pki.toml means and that are not revoked.",
    "ca_not_after_timestamp_seconds": "When a CA ends.",
    "list_this_update_timestamp_seconds": "When a CRL or a pack of OCSP answers was signed.",
    "list_next_update_timestamp_seconds": "When clients begin to refuse it.",
    "published_ok": "Whether a published file is there and as it should be.",
}


def human(told: Status) -> str:
    """The worst first, a line each."""
    rows = [(one.level.name.lower(), one.name, one.subject, one.message) for one in _sorted(told)]
    return f"{told.project} at {rfc3339(told.at)}: {told.level.name}\n" + table(
        ("level", "check", "what", "says"), rows
    )


def document(told: Status) -> dict[str, object]:
    """The JSON that scripts may rely on."""
    return {
        "format": "pkicode.status",
        "version": "1.0",
        "at": rfc3339(told.at),
        "project": told.project,
        "level": told.level.name.lower(),
        "checks": [
            {"check": one.name, "subject": one.subject, "level": one.level.name.lower(), "message": one.message}
            for one in _sorted(told)
        ],
        "figures": [{"name": one.name, "value": one.value, "labels": dict(one.labels)} for one in told.figures],
    }


def nagios(told: Status) -> str:
    """A plugin's output: what is wrong on the first line, the rest below it."""
    wrong = [one for one in _sorted(told) if one.level is not Level.OK]
    first = "; ".join(_said(one) for one in wrong[:3]) or counted(len(told.checks), "check")
    more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    lines = [f"PKICODE {told.level.name} - {_plain(first)}{more}"]
    lines += [f"{one.level.name}: {_plain(_said(one))}" for one in _sorted(told)]
    return "\n".join(lines) + "\n"


def _sorted(told: Status) -> list[Check]:
    return sorted(told.checks, key=lambda one: _ORDER.index(one.level))


def _said(one: Check) -> str:
    return f"{one.name} {one.subject}: {one.message}"


def _plain(text: str) -> str:
    """`|` begins performance data."""
    return printable(text).replace("|", "/")


def prometheus(told: Status) -> str:
    """The text exposition format: every figure, and the level of every check."""
    return "\n".join(_exposed(told)) + "\n"


def _exposed(told: Status) -> Iterator[str]:
    yield "# HELP pkicode_check_level 0 ok, 1 warning, 2 critical, 3 unknown."
    yield "# TYPE pkicode_check_level gauge"
    levels: dict[str, int] = {}
    for one in told.checks:
        labels = _labels((("check", one.name), ("subject", one.subject)))
        levels[labels] = max(levels.get(labels, 0), int(one.level))
    yield from (f"pkicode_check_level{labels} {level}" for labels, level in levels.items())
    yield "# HELP pkicode_level The worst of all checks."
    yield "# TYPE pkicode_level gauge"
    yield f"pkicode_level {int(told.level)}"
    for name, text in _HELP.items():
        found = [one for one in told.figures if one.name == name]
        if found:
            yield f"# HELP pkicode_{name} {text}"
            yield f"# TYPE pkicode_{name} gauge"
            yield from (f"pkicode_{name}{_labels(one.labels)} {one.value}" for one in found)


def _labels(pairs: tuple[tuple[str, str], ...]) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return printable(value).replace("\\", "\\\\").replace('"', '\\"')
