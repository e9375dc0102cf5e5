"""Export one tag and print where it is: one_export.py PROJECT_UID TAG_ID."""

import asyncio
import os
import sys

import tagferry

BASE_URL = os.environ.get("TAGFERRY_GROWINGIO_BASE_URL", "https://www.growingio.com")


async def main(project_uid: str, tag_id: str) -> None:
    """Export, and leave a file of an earlier run in its place until the new one is whole."""
    token = os.environ["TAGFERRY_GROWINGIO_TOKEN"]
    async with tagferry.GrowingIO(token=token, base_url=BASE_URL) as gio:
        files = await gio.tag_users(project_uid, tag_id).download("out", if_exists="replace")
    for file in files:
        print(file.path, file.size, file.sha256)


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except tagferry.TagferryError as error:
        sys.exit(f"{error}" + (" (later it may work)" if error.retryable else ""))
