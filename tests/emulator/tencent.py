"""UserSigs and calls of Tencent IM, made by hand."""

import base64
import hashlib
import hmac
import json
import time
import urllib.parse
import zlib

from tagferry.emulator import DEMO_IDENTIFIER, DEMO_SDKAPPID, DEMO_SECRET_KEY
from tests.emulator.raw import Answer, ask, exchange, request

PATHS = {"all_member_push": "/v4/all_member_push/im_get_tag", "timpush": "/v4/timpush/get_tag"}
GET_TAG = "tencent-im.get-tag"


def pack(document: bytes, level=-1) -> str:
    text = base64.b64encode(zlib.compress(document, level)).decode()
    return text.replace("+", "*").replace("/", "-").replace("=", "_")


def document(sdkappid=DEMO_SDKAPPID, identifier=DEMO_IDENTIFIER, key=DEMO_SECRET_KEY, expire=600, made=None):
    made = int(time.time()) if made is None else made
    lines = f"TLS.identifier:{identifier}\nTLS.sdkappid:{sdkappid}\nTLS.time:{made}\nTLS.expire:{expire}\n"
    mac = base64.b64encode(hmac.new(key.encode(), lines.encode(), hashlib.sha256).digest()).decode()
    return {
        "TLS.ver": "2.0",
        "TLS.identifier": identifier,
        "TLS.sdkappid": sdkappid,
        "TLS.expire": expire,
        "TLS.time": made,
        "TLS.sig": mac,
    }


def sign(**facts) -> str:
    return pack(json.dumps(document(**facts)).encode())


def target(service="all_member_push", **changes) -> str:
    """The path and query; a changed parameter of `None` is left out."""
    given = {
        "sdkappid": DEMO_SDKAPPID,
        "identifier": DEMO_IDENTIFIER,
        "usersig": sign() if "usersig" not in changes else None,
        "random": 4294967295,
        "contenttype": "json",
        **changes,
    }
    pairs = {name: value for name, value in given.items() if value is not None}
    return f"{PATHS.get(service, service)}?{urllib.parse.urlencode(pairs)}"


def body_of(accounts) -> bytes:
    return json.dumps({"To_Account": list(accounts)}).encode()


async def call(emu, accounts=("u001",), *, body=None, method="POST", timeout=10.0, **changes) -> Answer:
    body = body_of(accounts) if body is None else body
    return await ask(emu.base_url, target(**changes), method=method, body=body, timeout=timeout)


async def code_of(emu, accounts=("u001",), **changes) -> int:
    """The ErrorCode of a call, after a look at the form of its answer."""
    answer = await call(emu, accounts, **changes)
    assert answer.status == 200
    told = answer.json()
    assert told["ActionStatus"] == ("OK" if told["ErrorCode"] == 0 else "FAIL")
    return told["ErrorCode"]


async def codes_of_many(emu, count, *, service="all_member_push", **changes) -> list[int]:
    """The ErrorCodes of many calls, sent at once on one connection."""
    one = request(target(service, **changes), method="POST", body=body_of(["u001"]), close=False)
    last = request("/_emulator/healthz")
    raw, end = await exchange(emu.base_url, one * count + last)
    assert end == "fin"
    bodies = [part.partition(b"\r\n\r\n")[2] for part in raw.split(b"HTTP/1.1 ")[1:-1]]
    assert len(bodies) == count
    return [json.loads(body)["ErrorCode"] for body in bodies]


async def entries_of(emu, accounts, **changes) -> dict[str, object]:
    """The Tags of each entry of an answer."""
    told = (await call(emu, accounts, **changes)).json()
    assert told["ErrorCode"] == 0
    return {entry["To_Account"]: entry.get("Tags", ...) for entry in told["UserTags"]}
