"""Count the Tencent IM tags of a GrowingIO segment's users: audience_tags.py PROJECT_UID SEGMENTATION_ID"""

import asyncio
import os
import sys

import duckdb
import msgspec

import tagferry

ENV = {name.removeprefix("TAGFERRY_"): text for name, text in os.environ.items()}
COUNT = "SELECT tag, count(*) FROM (SELECT unnest(tags) AS tag FROM 'tags.parquet') GROUP BY tag"


class User(msgspec.Struct):
    user_id: str


async def main(project_uid: str, segmentation_id: str) -> None:
    """Bring the tags of all users of the segment to tags.parquet; run again, it goes on where it stopped."""
    url = ENV.get("GROWINGIO_BASE_URL", "https://www.growingio.com")
    gio = tagferry.GrowingIO(token=ENV["GROWINGIO_TOKEN"], base_url=url)
    im = tagferry.TencentIM(
        sdkappid=int(ENV["TENCENT_SDKAPPID"]),
        identifier=ENV["TENCENT_IDENTIFIER"],
        secret_key=ENV["TENCENT_SECRET_KEY"],
        base_url=ENV.get("TENCENT_BASE_URL"),
    )
    async with gio, im:
        segment = gio.segment_users(project_uid, segmentation_id)
        async with segment.rows(User, directory="out", if_exists="skip") as users:
            accounts = (user.user_id async for user in users)
            print(await im.fetch_tags(accounts, "tags.parquet", if_exists="skip"))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
    print(duckdb.sql(COUNT))
