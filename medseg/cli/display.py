"""What a person sees while something long runs: bars with an ETA in a terminal, plain lines in a log."""

import sys
import time
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 30


class Bars:
    """Progress bars on standard error; where that is no terminal, a line every half minute."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.live = self.console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[told]}"),
            console=self.console,
            auto_refresh=False,
        )
        self._view = Live(self._progress, console=self.console, refresh_per_second=4)
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, tuple[float, float]] = {}
        self._last_line = 0.0

    def __enter__(self) -> "Bars":
        if self.live:
            self._view.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.live:
            self._view.stop()

    def line(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def above(self, shown: RenderableType) -> None:
        """Show something above the bars, in place of what was there; in a terminal only."""
        if self.live:
            self._view.update(Group(shown, self._progress))

    def show(self, what: str, done: float, total: float, told: str = "") -> None:
        """Move the bar named ``what``; it appears with its first call."""
        if not self.live:
            self._plain(what, done, total, told)
            return
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, told=told)
            # what was done before counts for the bar and not for the speed: a resumed training is not fast
            self._progress.tasks[-1].completed = done
        self._progress.update(self._tasks[what], completed=done, total=total, told=told)

    def hide(self, what: str) -> None:
        """Take a bar away."""
        if what in self._tasks:
            self._progress.remove_task(self._tasks.pop(what))

    def _plain(self, what: str, done: float, total: float, told: str) -> None:
        now = time.monotonic()
        share = done / max(total, 1e-9)
        since, before = self._started.setdefault(what, (now, share))
        if done < total and now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        left = (now - since) * (1 - share) / (share - before) if before < share < 1 else 0.0
        eta = f", {duration(left)} left" if left > 0 else ""
        sys.stderr.write(f"{what} {100 * share:.0f}%{eta}  {told}".rstrip() + "\n")
        sys.stderr.flush()


class Rate:
    """How many a minute, of what was finished since the start; None until the first one."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._count = 0

    def add(self) -> None:
        self._count += 1

    def __str__(self) -> str:
        minutes = (time.monotonic() - self._since) / 60
        return f"{self._count / minutes:.3g} a minute" if self._count and minutes > 0 else ""


def duration(seconds: float) -> str:
    """As in ``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
