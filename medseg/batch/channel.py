"""Messages between a batch and one of its processes: JSON, and arrays as raw bytes. Nothing is executed."""

import json
import socket
import struct
import traceback
from typing import Any

import numpy as np
from jaxtyping import Shaped

from medseg.errors import Code, MedsegError, PatientError

_LENGTH = struct.Struct("<Q")
_MOST_JSON_BYTES = 64 << 20


class Unexpected(Exception):  # noqa: N818 - it stands for an error of any kind
    """An exception that no one foresaw, as the process it came up in told it: its type, and where."""

    def __init__(self, kind: str, frames: str) -> None:
        super().__init__(kind)
        self.kind = kind
        self.frames = frames


class Channel:
    """One end of a stream socket.

    Raises (all methods):
        EOFError, ConnectionError: the process at the other end is gone.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream

    def send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message, allow_nan=False).encode()
        self._stream.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self) -> dict[str, Any]:
        """The next message.

        Raises:
            MedsegError, Unexpected: what the other end failed with.
        """
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        if length > _MOST_JSON_BYTES:
            raise ConnectionError("a message without end")
        message = json.loads(self._exactly(length))
        if not isinstance(message, dict):
            raise ConnectionError("not a message")
        if "error" in message:
            raise error_from_json(message["error"])
        if "unexpected" in message:
            raise Unexpected(message["unexpected"], message["frames"])
        return message

    def send_array(self, array: Shaped[np.ndarray, "..."]) -> None:
        """Shape and type, then the bytes in the order in which they lie."""
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        flat = array.reshape(-1, order="F") if order == "F" else np.ascontiguousarray(array).reshape(-1)
        self.send({"shape": array.shape, "dtype": array.dtype.str, "order": order})
        self._stream.sendall(flat.view(np.uint8).data)

    def receive_array(self) -> Shaped[np.ndarray, "..."]:
        told = self.receive()
        array = np.empty(told["shape"], np.dtype(told["dtype"]), order=told["order"])
        self._fill(memoryview(array.reshape(-1, order=told["order"]).view(np.uint8).data))
        return array

    def send_error(self, error: MedsegError) -> None:
        self.send({"error": error_to_json(error)})

    def send_unexpected(self, error: BaseException) -> None:
        self.send({"unexpected": type(error).__name__, "frames": frames_of(error)})

    def _exactly(self, count: int) -> bytes:
        data = bytearray(count)
        self._fill(memoryview(data))
        return bytes(data)

    def _fill(self, view: memoryview) -> None:
        while view:
            count = self._stream.recv_into(view)
            if count == 0:
                raise EOFError("the other process is gone")
            view = view[count:]


def error_to_json(error: MedsegError) -> dict[str, Any]:
    return {"family": type(error).__name__, "code": str(error.code), "problems": list(error.problems)}


def error_from_json(told: dict[str, Any]) -> MedsegError:
    families = {family.__name__: family for family in _families(MedsegError)}
    return families.get(told["family"], PatientError)(Code(told["code"]), *told["problems"])


def frames_of(error: BaseException) -> str:
    """Where ``error`` came up: lines of code, without its text, which may quote a header."""
    return "".join(traceback.format_tb(error.__traceback__))


def _families(base: type[MedsegError]) -> list[type[MedsegError]]:
    return [base, *(below for family in base.__subclasses__() for below in _families(family))]
