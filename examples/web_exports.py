"""A web app that brings many tags in the background: web_exports.py PORT, then GET /exports."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator

from aiohttp import web

import tagferry

BASE_URL = os.environ.get("TAGFERRY_GROWINGIO_BASE_URL", "https://www.growingio.com")
STATES = dict.fromkeys(["5rREn4PL", "7sKp2QwZ", "8dQbzkRa"], "running")


async def bring(gio: tagferry.GrowingIO) -> None:
    exports = [gio.tag_users("nxog09md", tag) for tag in STATES]
    async with tagferry.download_all(exports, "out", if_exists="replace") as outcomes:
        async for one in outcomes:
            STATES[one.export.id] = one.state if isinstance(one, tagferry.ExportDone) else f"{one.error}"


async def run_beside(_: web.Application) -> AsyncIterator[None]:
    async with tagferry.GrowingIO(token=os.environ["TAGFERRY_GROWINGIO_TOKEN"], base_url=BASE_URL) as gio:
        task = asyncio.create_task(bring(gio))
        yield
        task.cancel()  # what is unfinished goes on in the app's next life
        await asyncio.wait([task])


async def show(_: web.Request) -> web.Response:
    return web.json_response(STATES)


if __name__ == "__main__":
    app = web.Application()
    app.cleanup_ctx.append(run_beside)
    app.add_routes([web.get("/exports", show)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]))
