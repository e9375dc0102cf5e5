"""The part of the demo that exports files from GrowingIO SaaS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tagferry.cli.demo.exports import ExportsPart
from tagferry.clients.growingio import GrowingIO
from tagferry.events import Emit
from tagferry.exports.export import Export

__all__ = ["GrowingIOPart"]

PROJECT = "demo0001"
# Names that look like the service's own ids, with the rows of each.
TAGS = {"vipvalue": 1_000_000, "citytier": 250_000, "lastseen": 90_000, "newusers": 1_000}
SEGMENTS = {"lapsed30": 300_000, "loyal365": 250_000, "bigspend": 40_000}
FAULTS = (
    # The pace of a real network, so that there is something to watch.
    "growingio-saas.download:vipvalue=drip@0 bytes=400000 every=0.05 x2",
    "growingio-saas.download:citytier=expired",
    "growingio-saas.download:citytier=drip@0 bytes=200000 every=0.1",
    "growingio-saas.download:loyal365=cut@2500000",
    "growingio-saas.download:loyal365=drip@0 bytes=50000 every=0.1",
    "growingio-saas.poll:lapsed30=status=503",
)


class GrowingIOPart(ExportsPart[GrowingIO]):
    """Tags and segments of GrowingIO SaaS."""

    service = "GrowingIO"

    @property
    def words(self) -> Sequence[str]:
        """Rows, parts and faults of the exports."""
        rows = [f"--rows-of={name}={count}" for name, count in (TAGS | SEGMENTS).items()]
        return ["--parts-of=vipvalue=2", *rows, *(f"--fault={fault}" for fault in FAULTS)]

    @property
    def introduction(self) -> str:
        """How many exports there are."""
        return f"{len(TAGS | SEGMENTS)} exports from GrowingIO:"

    def _open(self, environment: Mapping[str, str], on_event: Emit) -> GrowingIO:
        return GrowingIO(
            token=environment["TAGFERRY_GROWINGIO_TOKEN"],
            base_url=environment["TAGFERRY_GROWINGIO_BASE_URL"],
            on_event=on_event,
        )

    def _choose(self, client: GrowingIO) -> list[Export]:
        tags = [client.tag_users(PROJECT, name) for name in TAGS]
        return [*tags, *(client.segment_users(PROJECT, name) for name in SEGMENTS)]
