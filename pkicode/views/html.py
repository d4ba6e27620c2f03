"""A plan as an HTML fragment for notebooks: no script, everything escaped, readable without its styles."""

from html import escape

from pkicode.model.change import Plan
from pkicode.views.human import conclusion, heading
from pkicode.views.plan import summary
from pkicode.views.sections import Section, fitted, sections

MAX_BYTES = 64 * 1024

_FRAME_BYTES = 500
_ONE_SCREEN = 20
_STYLE = "color:var(--jp-content-font-color1,inherit);background:transparent;white-space:pre-wrap;margin:0.3em 0"


def html(plan: Plan) -> str:
    """At most 64 KiB of UTF-8, whatever the size of the plan."""
    said = summary(plan)
    found = sections(plan, said)
    head = f"<p><strong>{escape(conclusion(said))}</strong></p><p>{escape(heading(said))}</p>"
    budget = MAX_BYTES - len(head.encode()) - _FRAME_BYTES * (len(found) + 1)
    body = "".join(map(_section, fitted(found, budget, lambda line: len(escape(line).encode()) + 1)))
    return f'<div class="pkicode-plan">{head}{body}</div>'


def _section(section: Section) -> str:
    opened = " open" if section.unfolded or len(section.body) <= _ONE_SCREEN else ""
    dropped = f"<p>{section.dropped:,} more lines: the frame (plan.df) has every row.</p>" if section.dropped else ""
    body = escape("\n".join(section.body))
    return f'<details{opened}><summary>{section.title}</summary><pre style="{_STYLE}">{body}</pre>{dropped}</details>'
