"""What a running download has on disk so far, for one who reads behind it."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from tagferry.errors import TagferryError
from tagferry.events import Emit, Event, PartRestarted, PartSaved, Progress
from tagferry.exports.outcome import SavedFile

__all__ = ["Tail"]


class Tail:
    """Listens to the events of one download. It lives on the event loop, as they do.

    Bytes count when the service has confirmed that they belong to the file of now: so those that an earlier
    run left do not before the first reply.

    Args:
        emit: Where the events go on to.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._sizes: dict[int, int] = {}
        self._whole: set[int] = set()
        self._changed = anyio.Event()
        self.parts = 0
        """Parts of the file; 0 while nothing is known."""
        self.is_torn = False
        """Whether something was dropped that may have been read: only the end tells what holds."""
        self.files: Sequence[SavedFile] | None = None
        """The whole files under their final names, when all is done."""
        self.error: TagferryError | None = None
        """What ended the download."""

    def take(self, event: Event) -> None:
        """Note an event, and pass it on."""
        match event:
            case Progress(part=part, parts=parts, received=received):
                self.is_torn |= self.parts not in {0, parts}
                self.parts = parts
                self._sizes[part] = received
            case PartSaved(part=part, size=size):
                self._sizes[part] = size
                self._whole.add(part)
            case PartRestarted(part=part):
                self.is_torn = True
                self._sizes[part] = 0
                self._whole.discard(part)
            case _:
                pass
        self._notify()
        self._emit(event)

    def finish(self, files: Sequence[SavedFile]) -> None:
        """Note that all is done."""
        self.files = files
        self._notify()

    def fail(self, error: TagferryError) -> None:
        """Note that the download has ended without the files."""
        self.error = error
        self._notify()

    def size(self, part: int) -> int:
        """Return how many bytes of a part are on disk."""
        return self._sizes.get(part, 0)

    def is_whole(self, part: int) -> bool:
        """Tell whether these are all, and verified."""
        return part in self._whole

    async def changed(self) -> None:
        """Wait until something is not as it was."""
        await self._changed.wait()

    async def saved(self) -> Sequence[SavedFile]:
        """Wait until all is done, and return the whole files.

        Raises:
            TagferryError: What ended the download.
        """
        while self.files is None:
            if self.error is not None:
                raise self.error
            await self.changed()
        return self.files

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
