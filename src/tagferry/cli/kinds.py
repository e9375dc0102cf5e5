"""Which verbs and kinds there are: a line each."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["KINDS", "VERBS", "Entry"]


class Entry(NamedTuple):
    """A verb, or a kind of a verb; its function is imported only when it is needed."""

    name: str
    function: str
    help: str
    examples: tuple[str, ...]


VERBS = (
    Entry(
        "demo",
        "tagferry.cli.demo:demo",
        "See exports of every sort succeed, faults included, against a built-in service.",
        ("tagferry demo", "tagferry demo --output demo-files"),
    ),
    Entry(
        "emulator",
        "tagferry.cli.emulator:emulator",
        "Run a local stand-in for the services, to try things out and to test against.",
        (
            "tagferry emulator --time-scale 0.01",
            "tagferry emulator --port 8080 --rows 1000000",
            "tagferry emulator --fault 'growingio-saas.poll=status=503 x3'",
        ),
    ),
)

KINDS = {
    "export": (
        Entry(
            "growingio-tag",
            "tagferry.cli.growingio:export_tag",
            "Export the users of tags from GrowingIO SaaS, as CSV.",
            (
                "tagferry export growingio-tag nxog09md 5rREn4PL",
                "tagferry export growingio-tag nxog09md 5rREn4PL 8dQbzkRa --output out",
                "tagferry export growingio-tag nxog09md 5rREn4PL --json --if-exists replace",
            ),
        ),
        Entry(
            "growingio-segment",
            "tagferry.cli.growingio:export_segment",
            "Export the users of segments from GrowingIO SaaS, as CSV.",
            (
                "tagferry export growingio-segment nxog09md nP2lpkX9",
                "tagferry export growingio-segment nxog09md nP2lpkX9 --parameters open_id,role",
                "tagferry export growingio-segment nxog09md nP2lpkX9 --output out --quiet",
            ),
        ),
    ),
}
"""The kinds of each verb; a further service adds its lines here."""

VERB_HELP = {
    "export": (
        "Export users of tags and segments to files.",
        (
            "tagferry export growingio-tag nxog09md 5rREn4PL --output out",
            "tagferry export growingio-segment nxog09md nP2lpkX9 --output out",
        ),
    ),
}
"""What the verbs with kinds say of themselves, and their examples."""
