"""The process that forks the others: it has the heavy modules loaded, so a new one starts in milliseconds.

It is a fresh interpreter: nothing of the caller's threads, locks and signal handlers is inherited, and the
caller's main module is not run again. It has a session of its own, so Ctrl-C reaches only the caller, who
decides. The forked processes end with the caller, however that ends.

A request is one byte with three descriptors: the socket of the new process, the pipe for dumps of its stack,
and the pipe that is told its process id and, when it ended, its exit status.
"""

import faulthandler
import gc
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from medseg.batch.channel import Channel

_NUMBER = struct.Struct("<i")
POSSIBLE = hasattr(os, "fork") and hasattr(socket, "send_fds")
"""Whether this system can fork processes and hand them descriptors (Linux, macOS)."""

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from medseg.batch.zygote import main; main(int(sys.argv[1]))"
)


class Forked(NamedTuple):
    """A new process: the socket to it, and the pipes with its stack and its exit status."""

    pid: int
    stream: socket.socket
    dump: int
    status: int


@dataclass
class Zygote:
    """The caller's side. ``fork`` may be called from any thread."""

    _control: socket.socket
    _process: subprocess.Popen[bytes]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def start(cls) -> "Zygote":
        ours, theirs = socket.socketpair()
        with theirs:
            # one thread each: sums come out the same in every process, and processes share the cores
            threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
            process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
                [sys.executable, "-P", "-c", _START, str(theirs.fileno()), json.dumps(sys.path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **threads},
            )
        return cls(ours, process)

    @property
    def pid(self) -> int:
        return self._process.pid

    def fork(self) -> Forked | None:
        """A new process, or None when the zygote is gone."""
        stream, far_stream = socket.socketpair()
        dump, far_dump = os.pipe()
        status, far_status = os.pipe()
        with far_stream, suppress(OSError), self._lock:
            socket.send_fds(self._control, [b"F"], [far_stream.fileno(), far_dump, far_status])
        os.close(far_dump)
        os.close(far_status)
        pid = read_number(status)
        if pid is not None:
            return Forked(pid, stream, dump, status)
        stream.close()
        os.close(dump)
        os.close(status)
        return None

    def close(self) -> None:
        self._control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def read_number(descriptor: int) -> int | None:
    """What the zygote told, or None when it cannot any more."""
    data = b""
    while len(data) < _NUMBER.size:
        piece = os.read(descriptor, _NUMBER.size - len(data))
        if not piece:
            return None
        data += piece
    return int(_NUMBER.unpack(data)[0])


def main(control: int) -> None:
    """The zygote's own side: fork on request until the caller is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    from medseg.batch.tasks import serve  # noqa: PLC0415 - heavy; only this process and its children need it

    gc.freeze()  # what is loaded stays shared: a collection in a forked process would copy its pages
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    statuses: dict[int, int] = {}
    with socket.socket(fileno=control) as requests:
        while True:
            readable, _, _ = select.select([control, woken], [], [])
            if woken in readable:
                os.read(woken, 4096)
                _reap(statuses)
            if control in readable:
                _, descriptors, _, _ = socket.recv_fds(requests, 1, 3)
                if len(descriptors) != 3:
                    os._exit(0)  # the caller is gone; nothing has to be tidied up
                _fork(descriptors, [control, woken, wake, *statuses.values()], statuses, serve)


def _fork(
    descriptors: list[int], inherited: list[int], statuses: dict[int, int], serve: Callable[[Channel], None]
) -> None:
    stream, dump, status = descriptors
    pid = os.fork()
    if pid == 0:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (*inherited, status):
                os.close(descriptor)
            _child(stream, dump, serve)
        finally:
            os._exit(1)
    os.close(stream)
    os.close(dump)
    statuses[pid] = status
    _tell(status, pid)


def _child(stream: int, dump: int, serve: Callable[[Channel], None]) -> None:
    quiet = os.open(os.devnull, os.O_RDWR)
    for output in (1, 2):  # libraries print what they find in headers
        os.dup2(quiet, output)
    faulthandler.enable(dump)
    faulthandler.register(signal.SIGUSR1, dump, all_threads=True)
    connection = socket.socket(fileno=stream)
    threading.Thread(target=_end_with_the_caller, args=(connection,), daemon=True).start()
    channel = Channel(connection)
    channel.send({"ready": True})
    serve(channel)
    os._exit(0)


def _end_with_the_caller(connection: socket.socket) -> None:
    hung_up = getattr(select, "POLLRDHUP", 0) | select.POLLHUP
    poller = select.poll()
    poller.register(connection, hung_up)
    poller.poll()
    os._exit(2)


def _reap(statuses: dict[int, int]) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid in statuses:
                descriptor = statuses.pop(pid)
                _tell(descriptor, os.waitstatus_to_exitcode(status))
                os.close(descriptor)


def _tell(descriptor: int, number: int) -> None:
    with suppress(OSError):  # the caller did not wait
        os.write(descriptor, _NUMBER.pack(number))
