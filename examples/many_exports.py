"""Export many tags at once and tell how each ended: many_exports.py PROJECT_UID TAG_ID..."""

import asyncio
import os
import sys

import tagferry
from tagferry.events import Event, LinkRenewed, TransferBroken

BASE_URL = os.environ.get("TAGFERRY_GROWINGIO_BASE_URL", "https://www.growingio.com")


def listen(event: Event) -> None:
    """Tell what went wrong on the way and was mended."""
    if isinstance(event, LinkRenewed | TransferBroken):
        print(event, file=sys.stderr)


async def main(project_uid: str, *tag_ids: str) -> int:
    """Export, and return how many failed."""
    failed = 0
    token = os.environ["TAGFERRY_GROWINGIO_TOKEN"]
    async with tagferry.GrowingIO(token=token, base_url=BASE_URL, on_event=listen) as gio:
        exports = [gio.tag_users(project_uid, tag_id) for tag_id in tag_ids]
        async with tagferry.download_all(exports, "out", if_exists="skip") as outcomes:
            async for outcome in outcomes:
                match outcome:
                    case tagferry.ExportDone(export=export, files=files):
                        print(export.id, *(file.path for file in files))
                    case tagferry.ExportFailed(export=export, error=error):
                        print(export.id, error, file=sys.stderr)
                        failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
