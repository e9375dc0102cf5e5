"""A fetch into streams: all bytes arrive, or it is told that they did not."""

import io

import pytest

from tagferry.errors import DiskError
from tagferry.lookups.pipe import PipePlace
from tagferry.lookups.plan import Totals


class Narrow(io.RawIOBase):
    """Takes some bytes of each write only, as a stream without a buffer may."""

    def __init__(self, most):
        self.most = most
        self.text = b""

    def writable(self):
        return True

    def write(self, text):
        if self.most is None:
            return None
        self.text += bytes(text[: self.most])
        return min(len(text), self.most)


def save(output, dead_letters):
    place = PipePlace(output, dead_letters)
    try:
        place.save(b"answers\n", b"dead letters\n", 1, [], Totals())
        return place.checkpoint.dead_size
    finally:
        place.close()


def test_a_stream_that_takes_a_few_bytes_at_a_time_gets_all_of_them():
    output, dead_letters = Narrow(3), Narrow(5)
    assert save(output, dead_letters) == 13
    assert (output.text, dead_letters.text) == (b"answers\n", b"dead letters\n")


def test_a_stream_that_takes_nothing_now_is_an_error_and_no_endless_loop():
    with pytest.raises(DiskError, match="cannot write the output"):
        save(Narrow(None), io.BytesIO())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), BrokenPipeError()])
def test_only_a_reader_that_has_gone_is_no_error_of_the_disk(error):
    class Broken(Narrow):
        def write(self, text):
            raise error

    with pytest.raises(BrokenPipeError if isinstance(error, BrokenPipeError) else DiskError):
        save(Broken(1), io.BytesIO())
