"""Watched processes, each for one stage of one patient: time and memory are limited, deaths are told."""

import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf

import psutil

from medseg.batch.channel import Channel
from medseg.batch.log import RunLog
from medseg.batch.results import BatchOptions
from medseg.batch.stop import Stopped
from medseg.batch.watched import Watched
from medseg.batch.zygote import Forked, Zygote, read_number
from medseg.errors import Code, EnvironmentProblem, PatientError
from medseg.inference.workspace import gib

_LOOK_SECONDS = 0.1
_DUMP_SECONDS = 2.0
_END_SECONDS = 5.0


class Supervisor:
    """Starts processes and ends those that take too long or too much. Any thread may call."""

    def __init__(self, options: BatchOptions, log: RunLog) -> None:
        self._options = options
        self._log = log
        self._zygote = Zygote.start()
        self._lock = threading.Lock()
        self._watched: dict[int, Watched] = {}
        self._given_up: set[str] = set()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look_again, daemon=True)
        self._watch.start()

    @contextmanager
    def process(self, patient: str, stage: str, seconds: float = inf) -> Iterator[Channel]:
        """A new process for a ``stage`` ("reading") of ``patient``, to be asked for one task.

        It may take ``seconds``, and no longer than the options say.

        Raises:
            PatientError: it died, or was killed because of a limit.
            Stopped: it was given up by ``give_up``.
            EnvironmentProblem: no process can be started.
        """
        watched = Watched(patient, stage, min(seconds, self._options.timeout_seconds), self._fork())
        with self._lock:
            self._watched[watched.pid] = watched
            if stage in self._given_up:
                watched.doom = Stopped()
        try:
            channel = Channel(watched.stream)
            channel.receive()  # it is ready, and would tell its stack
            self._log.add("started", patient=patient, stage=stage, pid=watched.pid)
            if watched.doom is None:
                yield channel
            if watched.doom is not None:  # what comes after it was given up does not count
                raise watched.doom
        except (EOFError, ConnectionError):
            raise self._cause(watched) from None
        finally:
            with self._lock:
                del self._watched[watched.pid]
            watched.close()
            self._log.add("ended", patient=patient, stage=stage, peak_bytes=watched.peak_bytes)

    def give_up(self, stage: str) -> None:
        """Kill the processes in this ``stage``, for good: their patients are left undone."""
        with self._lock:
            self._given_up.add(stage)
            watched = [one for one in self._watched.values() if one.stage == stage]
        for one in watched:
            self._kill(one, Stopped())

    def memory_bytes(self) -> int:
        """What this process and those it started take together; pages shared with the zygote count once."""
        with self._lock:
            apart = [process for one in self._watched.values() for process in one.processes]
        total = psutil.Process().memory_info().rss
        with suppress(psutil.Error):
            total += psutil.Process(self._zygote.pid).memory_info().rss
        for process in apart:
            with suppress(psutil.Error):
                total += process.memory_full_info().uss
        return int(total)

    def close(self) -> None:
        self._over.set()
        self._watch.join()
        self._zygote.close()

    def _fork(self) -> Forked:
        for _ in range(2):
            zygote = self._zygote
            forked = zygote.fork()
            if forked is not None:
                return forked
            with self._lock:
                if self._zygote is zygote:  # it was killed; another one serves the next
                    zygote.close()
                    self._zygote = Zygote.start()
        raise EnvironmentProblem(
            Code.NO_PROCESS,
            "processes cannot be started (their starter died twice): free memory, or use --workers 0",
        )

    def _look_again(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            with self._lock:
                watched = list(self._watched.values())
            together = sum(one.rss_bytes() for one in watched)
            for one in watched:
                seconds = time.monotonic() - one.started
                if seconds > one.seconds and one.doom is None:
                    self._time_out(one, seconds)
            limit = self._options.max_ram_bytes
            if limit is not None and watched and together + psutil.Process().memory_info().rss > limit:
                self._limit_memory(max(watched, key=lambda one: one.peak_bytes), limit)

    def _limit_memory(self, largest: Watched, limit: int) -> None:
        total = self.memory_bytes()
        if total > limit:
            told = (
                f"{largest.patient}: {largest.stage} took {gib(largest.peak_bytes)}, the batch with it "
                f"{gib(total)}, and --max-ram is {gib(limit)}: allow more, or take the patient out"
            )
            self._kill(largest, PatientError(Code.MEMORY_LIMIT, told))

    def _time_out(self, one: Watched, seconds: float) -> None:
        where = self._log.dump_file(one.patient)
        told = (
            f"{one.patient}: {one.stage} was given up after {seconds:.0f} s (where it hung: {where}): "
            "look at its files and their disk, or raise --timeout"
        )
        doom = PatientError(Code.TIMED_OUT, told)
        with one.pipes:
            if not one.open:
                return
            one.doom = one.doom or doom  # first of all: woken to tell its stack, it may come to its end
            one.send(signal.SIGUSR1, signal.SIGCONT)  # a stopped process tells its stack, too
            stack = one.read_dump(_DUMP_SECONDS)
        self._log.dump(one.patient, stack or f"no stack: the process ({one.state()}) does not answer\n")
        self._kill(one, doom)

    def _kill(self, one: Watched, doom: Exception) -> None:
        one.doom = one.doom or doom
        one.send(signal.SIGKILL)
        with suppress(OSError):  # a process that waits for a dead disk cannot even die: nobody waits for it
            one.stream.shutdown(socket.SHUT_RDWR)

    def _cause(self, one: Watched) -> Exception:
        """Why the process is gone."""
        if one.doom is not None:
            return one.doom
        readable, _, _ = select.select([one.status], [], [], _END_SECONDS)
        number = read_number(one.status) if readable else None
        if number is not None and number < 0:
            name = signal.Signals(-number).name if -number in set(signal.Signals) else f"signal {-number}"
            how = f"was killed by {name}"
        else:
            how = "died" if number is None else f"ended with code {number}"
        stack = one.read_dump(0.0)
        told = f", where: {self._log.dump(one.patient, stack)}" if stack else ""
        return PatientError(
            Code.PROCESS_DIED,
            f"{one.patient}: the process {one.stage} it {how} (it took up to {gib(one.peak_bytes)}{told}): "
            "look at its files, and whether memory is short",
        )
