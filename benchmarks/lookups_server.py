"""The emulated service, as fast as it can: ``python -m benchmarks.lookups_server``; see `Companion`.

It prints its origin.
"""

from __future__ import annotations

import sys

from tagferry.emulator import Settings, TencentSettings, serve_in_thread

if __name__ == "__main__":
    fast = TencentSettings(track=False, quota_per_second=10**6)
    with serve_in_thread(Settings(remember=1000, tencent=fast)) as emulator:
        print(emulator.base_url, flush=True)
        sys.stdin.read()
