"""Python reads this first when its folder is on PYTHONPATH: every way out to a network is written down.

The file that ``MEDSEG_CONNECTIONS`` names gets a line for each; the way itself is not barred.
"""

import os
import sys
from typing import Any

_EVENTS = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind")


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _EVENTS:
        return
    address: Any = (
        arguments[1] if event in ("socket.connect", "socket.sendto", "socket.bind") else arguments[0]
    )
    if isinstance(address, str | bytes) and event in ("socket.connect", "socket.sendto", "socket.bind"):
        return  # a socket of this machine, named by a path
    if event == "socket.bind" and address[0] in ("::1", "127.0.0.1"):
        return  # urllib3, where it is installed, tries at its import whether the machine has IPv6
    with open(os.environ["MEDSEG_CONNECTIONS"], "a", encoding="utf-8") as file:  # noqa: PTH123
        file.write(f"{event} {address} in {sys.argv[:3]}\n")


if "MEDSEG_CONNECTIONS" in os.environ:
    sys.addaudithook(_watch)
