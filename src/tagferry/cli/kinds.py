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
    usage: str = ""
    """The line of usage, where the one that is made would mislead."""
    sections: tuple[str, ...] = ()
    """Of the settings, those that it reads."""


VERBS = (
    Entry(
        "demo",
        "tagferry.cli.demo:demo",
        "See exports and look-ups succeed, faults included, against built-in services.",
        ("tagferry demo", "tagferry demo --output demo-files"),
    ),
    Entry(
        "convert",
        "tagferry.cli.convert:convert",
        "Make Parquet, CSV or JSON Lines of exported files, in flat memory.\n\n"
        "Each export becomes a file beside it; its numbered parts, NAME-00001.csv and so on, become one. With"
        " --output FILE, all files become one table, and so have to have the same header. The files stay as"
        " they are.",
        (
            "tagferry convert out/*.csv --to parquet",
            "tagferry convert out/*.jsonl --to parquet --output all.parquet",
            "tagferry convert tags.jsonl --to csv --spreadsheet-safe --output for-excel.csv",
        ),
        "tagferry convert [OPTIONS] FILE... --to parquet|csv|jsonl",
    ),
    Entry(
        "doctor",
        "tagferry.cli.doctor:doctor",
        "Check settings, connections, credentials and this machine; it exports nothing.\n\n"
        "The exit code is 0 when nothing failed, whatever there is to warn of.",
        ("tagferry doctor", "tagferry doctor --project-uid nxog09md", "tagferry doctor --json"),
        sections=("growingio", "cdp", "tencent"),
    ),
    Entry(
        "emulator",
        "tagferry.cli.emulator:emulator",
        "Run a local stand-in for the services, to try things out and to test against.\n\n"
        "On a terminal it prints the settings that lead tagferry to it, as lines for the shell; anywhere else"
        " one line of JSON, which has them too.",
        (
            "tagferry emulator --time-scale 0.01",
            "tagferry emulator --port 8080 --rows 1000000 --rate 50/s",
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
            "tagferry export growingio-tag [OPTIONS] PROJECT_UID TAG_ID...",
            sections=("growingio",),
        ),
        Entry(
            "growingio-segment",
            "tagferry.cli.growingio:export_segment",
            "Export the users of segments from GrowingIO SaaS, as CSV.",
            (
                "tagferry export growingio-segment nxog09md nP2lpkX9",
                "tagferry export growingio-segment nxog09md nP2lpkX9 --parameters open_id,role",
                "tagferry export growingio-segment nxog09md --all --match 'vip*' --to parquet",
            ),
            "tagferry export growingio-segment [OPTIONS] PROJECT_UID (ID... | --all)",
            sections=("growingio",),
        ),
        Entry(
            "growingio-cdp-tag",
            "tagferry.cli.growingio_cdp:export_tag",
            "Export the users of tags from GrowingIO CDP, as CSV or JSON Lines.",
            (
                "tagferry export growingio-cdp-tag tag_rfm --property usr_gender --output out",
                "tagferry export growingio-cdp-tag tag_rfm tag_vip --file-format json",
                "tagferry export growingio-cdp-tag --project WlGk4Daj --all --match '*vip*'",
            ),
            "tagferry export growingio-cdp-tag [OPTIONS] (TAG_KEY... | --all)",
            sections=("cdp",),
        ),
        Entry(
            "growingio-cdp-segment",
            "tagferry.cli.growingio_cdp:export_segment",
            "Export the users of segments from GrowingIO CDP, as CSV or JSON Lines.",
            (
                "tagferry export growingio-cdp-segment seg_51activity --project WlGk4Daj",
                "tagferry export growingio-cdp-segment --project WlGk4Daj --all --match 'vip*'",
            ),
            "tagferry export growingio-cdp-segment --project ID [OPTIONS] KEY...|--all",
            sections=("cdp",),
        ),
    ),
    "list": (
        Entry(
            "growingio-segments",
            "tagferry.cli.growingio_lists:list_segments",
            "List the segments of a project of GrowingIO SaaS.",
            (
                "tagferry list growingio-segments nxog09md",
                "tagferry list growingio-segments nxog09md --match 'vip*' --json",
                "tagferry list growingio-segments nxog09md --quiet",
            ),
            sections=("growingio",),
        ),
        Entry(
            "growingio-variables",
            "tagferry.cli.growingio_lists:list_variables",
            "List the user variables of a project of GrowingIO SaaS, as --parameters takes them.",
            (
                "tagferry list growingio-variables nxog09md",
                "tagferry list growingio-variables nxog09md --quiet",
            ),
            sections=("growingio",),
        ),
        Entry(
            "growingio-cdp-tags",
            "tagferry.cli.growingio_lists:list_cdp_tags",
            "List the tags of GrowingIO CDP.",
            (
                "tagferry list growingio-cdp-tags",
                "tagferry list growingio-cdp-tags --project WlGk4Daj --match '*会员*'",
            ),
            sections=("cdp",),
        ),
        Entry(
            "growingio-cdp-segments",
            "tagferry.cli.growingio_lists:list_cdp_segments",
            "List the segments of a project of GrowingIO CDP.",
            (
                "tagferry list growingio-cdp-segments --project WlGk4Daj",
                "tagferry list growingio-cdp-segments --project WlGk4Daj --json",
            ),
            sections=("cdp",),
        ),
        Entry(
            "growingio-cdp-projects",
            "tagferry.cli.growingio_lists:list_cdp_projects",
            "List the projects of GrowingIO CDP.",
            (
                "tagferry list growingio-cdp-projects",
                "tagferry list growingio-cdp-projects --match '*测试*' --quiet",
            ),
            sections=("cdp",),
        ),
    ),
    "fetch": (
        Entry(
            "tencent-tags",
            "tagferry.cli.tencent:fetch_tags",
            "Look up the tags of any number of accounts in Tencent IM.",
            (
                "tagferry fetch tencent-tags accounts.txt --output tags.jsonl",
                "tagferry fetch tencent-tags users.csv:uid --output tags.parquet --rate 79/s",
                "cut -f1 users.tsv | tagferry fetch tencent-tags - --output - | gzip > tags.gz",
            ),
            sections=("tencent",),
        ),
    ),
    "retry": (
        Entry(
            "tencent-tags",
            "tagferry.cli.tencent:retry_tags",
            "Ask Tencent IM again for what failed in a fetch, and merge it into its output.",
            (
                "tagferry retry tencent-tags tags.dead.jsonl",
                "tagferry retry tencent-tags old/tags.dead.jsonl --output tags.jsonl --json",
            ),
            sections=("tencent",),
        ),
    ),
}
"""The kinds of each verb; a further service adds its lines here."""

_LIST_HELP = (
    "List what can be exported.\n\n"
    "On a terminal it is a table. Anywhere else it is a line for each item, with a TAB between the columns"
    " and no header: key, name, type, type of values, users, updated, state, id, description. The key is what"
    " an export takes. Control characters are escaped; --json has every text as it is."
)
VERB_HELP = {
    "export": (
        "Export users of tags and segments to files.",
        (
            "tagferry export growingio-tag nxog09md 5rREn4PL --output out",
            "tagferry export growingio-segment nxog09md nP2lpkX9 --output out",
        ),
    ),
    "list": (
        _LIST_HELP,
        (
            "tagferry list growingio-segments nxog09md",
            "tagferry list growingio-cdp-tags --match '*vip*'",
            "tagferry list growingio-segments nxog09md | fzf | cut -f1",
        ),
    ),
    "fetch": (
        "Look up accounts, each once, however many there are.",
        ("tagferry fetch tencent-tags accounts.txt --output tags.jsonl",),
    ),
    "retry": (
        "Ask again for what failed in a fetch.",
        ("tagferry retry tencent-tags tags.dead.jsonl",),
    ),
}
"""What the verbs with kinds say of themselves, and their examples."""
