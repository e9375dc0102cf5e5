"""The emulated GrowingIO: ``python -m benchmarks.growth_server POLLS_A_SECOND JOB_SECONDS``; see `Companion`.

It prints its origin, and at the end the polls that it counted and refused.
"""

from __future__ import annotations

import json
import sys

from tagferry.emulator import Settings, serve_in_thread

if __name__ == "__main__":
    polls, seconds = int(sys.argv[1]), float(sys.argv[2])
    small = Settings(token="benchmark", quota_per_second=polls, job_seconds=seconds, rows=10, remember=1000)
    with serve_in_thread(small) as emulator:
        print(emulator.base_url, flush=True)
        sys.stdin.read()
        json.dump({"refused": emulator.refused, "most": emulator.max_in_any_second}, sys.stdout)
