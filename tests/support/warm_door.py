"""``python -I -S warm_door.py DOOR ARGUMENTS`` is ``medseg ARGUMENTS``, behind the door of ``warm_start``."""

import json
import os
import socket
import sys
from pathlib import Path

with socket.socket(socket.AF_UNIX) as door:
    door.connect(sys.argv[1])
    order = {
        "arguments": sys.argv[2:],
        "cwd": str(Path.cwd()),
        "env": dict(os.environ),
        "stopped": False,
        "said": f"/proc/{os.getpid()}/fd/1",
        "told": f"/proc/{os.getpid()}/fd/2",
    }
    door.sendall(json.dumps(order).encode() + b"\n")
    sys.exit(int(door.makefile("rb").readline()))
