"""What goes through a channel arrives as it was; errors come out as they went in."""

import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from medseg.batch.channel import Channel, Unexpected
from medseg.errors import Code, GridMismatchError


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield Channel(one), Channel(other), one


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.int16).reshape(2, 3, 4),
        np.asfortranarray(np.arange(24, dtype=">f4").reshape(2, 3, 4)),
        np.arange(240, dtype=np.uint8).reshape(10, 6, 4)[::2, 1:, ::-1],
        np.zeros((300, 300, 30), np.float64),
    ],
)
def test_arrays(array: np.ndarray, ends: tuple[Channel, Channel, socket.socket]) -> None:
    thread = threading.Thread(target=ends[0].send_array, args=(array,))
    thread.start()
    found = ends[1].receive_array()
    thread.join()
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def test_errors(ends: tuple[Channel, Channel, socket.socket]) -> None:
    ends[0].send_error(GridMismatchError(Code.GRID_MISMATCH, "one", "two"))
    with pytest.raises(GridMismatchError) as caught:
        ends[1].receive()
    assert (caught.value.code, caught.value.problems) == (Code.GRID_MISMATCH, ("one", "two"))
    text = "Doe^John"
    try:
        raise KeyError(text)
    except KeyError as error:
        ends[0].send_unexpected(error)
    with pytest.raises(Unexpected) as unexpected:
        ends[1].receive()
    assert unexpected.value.kind == "KeyError"
    assert "test_channel.py" in unexpected.value.frames
    assert text not in unexpected.value.frames, "a text may quote a header"


def test_the_end_of_the_other(ends: tuple[Channel, Channel, socket.socket]) -> None:
    ends[2].close()
    with pytest.raises(EOFError):
        ends[1].receive()
