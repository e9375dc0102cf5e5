"""What most write: threads, and `requests`; nothing is written, checked or repeated.

``python -m benchmarks.lookups_threads`` with the words of a `Task`.
"""

from __future__ import annotations

import importlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from benchmarks.lookups_task import PATH, Laps, Task

requests = importlib.import_module("requests")


def main(task: Task) -> int:
    batches = task.batches()
    turn = threading.Lock()

    def work(_number: int) -> int:
        tagged = 0
        with requests.Session() as session:
            while True:
                with turn:
                    accounts = next(batches, None)
                if accounts is None:
                    return tagged
                asked = {"To_Account": accounts}
                answer = session.post(task.url + PATH, params=task.parameters(), json=asked, timeout=30)
                tagged += len(answer.json()["UserTags"])

    with ThreadPoolExecutor(task.connections) as pool:
        return sum(pool.map(work, range(task.connections)))


if __name__ == "__main__":
    laps = Laps()
    laps.end("start")
    tagged = main(Task.of(sys.argv[1:]))
    laps.end("look-ups")
    laps.tell(tagged)
