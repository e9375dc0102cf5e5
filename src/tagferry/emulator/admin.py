"""What can be asked of a running emulator over HTTP; nothing here tells a secret."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from tagferry.emulator.damage import envelope
from tagferry.emulator.wire import Reply, json_reply

if TYPE_CHECKING:
    from tagferry.emulator.server import Emulator
    from tagferry.emulator.service import Export
    from tagferry.emulator.wire import Request


class Admin:
    """The paths below `/_emulator/`."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    async def answer(self, request: Request) -> Reply:
        match request.method, request.path.removeprefix("/_emulator/"):
            case "GET", "healthz":
                return _json(200, {"status": "ok"})
            case "GET", "seen":
                return _json(200, self._seen())
            case "GET", "exports":
                exports = [export for service in self._emulator.services for export in service.exports()]
                # Hashes take a pass over every file, too long for the loop.
                described = await asyncio.to_thread(lambda: [self._describe(export) for export in exports])
                return _json(200, described)
            case "GET", "cdp":
                return _json(200, self._emulator.cdp.statistics())
            case "GET", "tencent":
                return _json(200, self._emulator.tencent.statistics())
            case "POST", "tencent/kick":
                return self._kick(request.body)
            case "POST", "faults":
                return self._order(request.body)
            case "DELETE", "faults":
                self._emulator.faults.clear()
                return Reply(status=204)
            case _:
                return json_reply(404, envelope(404))

    def _seen(self) -> dict[str, Any]:
        emulator = self._emulator
        return {
            "requests": sum(emulator.seen.counts.values()),
            "operations": dict(emulator.seen.counts),
            "quotas": emulator.quotas(),
            "refused": emulator.refused,
            "violations": list(emulator.seen.violations),
            "unused_faults": emulator.faults.unused(),
        }

    def _describe(self, export: Export) -> dict[str, Any]:
        files = self._emulator.sources(export.kind, export.project, export.id, export.parameters)
        return {
            "kind": export.kind,
            "project": export.project,
            "id": export.id,
            "parameters": list(export.parameters),
            "rows": sum(file.rows for file in files),
            "files": [{"size": file.size, "rows": file.rows, "sha256": file.sha256} for file in files],
        }

    def _kick(self, body: bytes) -> Reply:
        try:
            order = json.loads(body or b"{}")
            self._emulator.tencent.kick(order.get("sdkappid"))
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            return _json(400, {"message": str(error), "errors": []})
        return Reply(status=204)

    def _order(self, body: bytes) -> Reply:
        try:
            order = json.loads(body)
            self._emulator.faults.add(str(order["operation"]), str(order["fault"]))
        except (LookupError, TypeError):
            return _json(400, {"message": 'the body is {"operation": …, "fault": …}', "errors": []})
        except (ValueError, RecursionError) as error:
            return _json(400, {"message": str(error), "errors": []})
        return _json(201, {"unused_faults": self._emulator.faults.unused()})


def _json(status: int, value: Any) -> Reply:
    return json_reply(status, json.dumps(value, ensure_ascii=False))
