"""What the emulator saw."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class Arrival:
    """One request.

    Attributes:
        nanoseconds: When it came, on the monotonic clock of the emulator.
        operation: As in faults, such as `growingio-saas.poll`, or `unknown`.
        key: The id of the export; of Tencent IM, the SDKAppID.
        method: The HTTP method.
        target: Path and query, as they came.
        headers: Names and values, as they came.
        status: The HTTP status of the answer, 0 until it has begun.
        sent: Body bytes handed to the socket.

    """

    nanoseconds: int
    operation: str
    key: str
    method: str
    target: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    status: int = 0
    sent: int = 0

    def values(self, name: str) -> list[str]:
        """The values of every header of this name, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Arrivals:
    """The log of requests, for a loop from the oldest on; may be read from any thread.

    Attributes:
        counts: How many requests there were of each operation.
        violations: What no client may do, in words: a link changed, credentials sent to the download host.

    """

    def __init__(self, remember: int) -> None:
        self._log: deque[Arrival] = deque(maxlen=remember)
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []

    def add(self, arrival: Arrival) -> None:
        self.counts[arrival.operation] += 1
        self._log.append(arrival)

    def of(self, operation: str, key: str | None = None) -> list[Arrival]:
        """The requests of one operation, or of one export in it."""
        return [seen for seen in self if seen.operation == operation and key in {None, seen.key}]

    def __iter__(self) -> Iterator[Arrival]:
        return iter(self._log.copy())

    def __len__(self) -> int:
        return len(self._log)

    def clear(self) -> None:
        """Forget the log and the counts; quotas keep theirs."""
        self._log.clear()
        self.counts.clear()
        self.violations.clear()
