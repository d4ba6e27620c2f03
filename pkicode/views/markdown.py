"""A plan as Markdown for pull requests: counts first, what needs attention in full, the rest folded."""

import re

from pkicode.model.change import Plan
from pkicode.views.human import conclusion, heading
from pkicode.views.plan import summary
from pkicode.views.sections import Section, fitted, sections

MAX_BYTES = 65000
"""What a comment on the usual forges may hold, with room to spare."""

_FRAME_BYTES = 400
"""Per section: its tags, fences and the sentence about dropped lines."""


def markdown(plan: Plan, *, max_bytes: int = MAX_BYTES) -> str:
    """The plan in at most `max_bytes` of UTF-8.  The hidden first line lets a bot find and update its one comment."""
    said = summary(plan)
    counted = "".join(f"| {action} | {count:,} |\n" for action, count in said.counts.items() if count)
    found = sections(plan, said)
    head = (
        f"<!-- pkicode plan {_plain(plan.project)} {_plain(plan.env)} -->\n"
        f"### {conclusion(said)}\n\n"
        + (f"| action | count |\n|---|---:|\n{counted}\n" if counted else "")
        + f"{_fence(heading(said))}\n"
    )
    budget = max_bytes - len(head.encode()) - _FRAME_BYTES * len(found)
    return head + "".join(map(_section, fitted(found, budget, lambda line: len(line.encode()) + 1)))


def _section(section: Section) -> str:
    dropped = f"\n\n{section.dropped:,} more lines: `pkicode plan --full` shows them." if section.dropped else ""
    opened = " open" if section.unfolded else ""
    body = _fence("\n".join(section.body)) if section.body else ""
    return f"\n<details{opened}><summary>{section.title}</summary>\n\n{body}{dropped}\n\n</details>\n"


def _fence(text: str) -> str:
    """A code block no name can end: its fence is longer than any run of backticks inside (CommonMark 4.5)."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)
