"""A plan for Jupyter: the same summary as text, HTML, Markdown and, while it is small, vendor JSON."""

from collections.abc import Callable

from pkicode.model.change import Change, Plan
from pkicode.plan.planfile import document
from pkicode.views.html import html
from pkicode.views.human import human
from pkicode.views.markdown import markdown

VENDOR = "application/vnd.pkicode.plan.v1+json"
MOST_CHANGES = 100
"""All forms go to the page and into the saved notebook, where the JSON of ten thousand changes would be 5 MB."""


def mimebundle(plan: Plan, where: Callable[[Change], tuple[str, int]]) -> dict[str, object]:
    """What `_repr_mimebundle_` gives; the front end picks the richest form it knows."""
    shown: dict[str, object] = {"text/plain": human(plan), "text/html": html(plan), "text/markdown": markdown(plan)}
    return {**shown, VENDOR: document(plan, where)} if len(plan.changes) <= MOST_CHANGES else shown
