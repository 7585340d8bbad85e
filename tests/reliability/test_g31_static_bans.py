"""G31: no line of the program unpickles, evaluates, unpacks, opens a shell or a socket, or hides a fault."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.bans import find_banned

ROOT = Path(__file__).resolve().parents[2]
SOURCES = tuple(
    path for folder in ("medseg", "scripts", "pipelines") for path in sorted((ROOT / folder).rglob("*.py"))
)
OF_TOOLS = ("print", "assert", "subprocess")
"""Scripts speak to a terminal, check themselves and start programs; the program itself does not."""


@dataclass(frozen=True)
class Allowed:
    """One line that may stand, and why."""

    path: str
    rule: str
    text: str
    reason: str


ALLOWED = (
    Allowed(
        "medseg/config/yaml_text.py",
        "yaml",
        "return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader that refuses more",
        "the loader is a SafeLoader without aliases, tags of objects or doubled keys",
    ),
    Allowed(
        "medseg/training/environment.py",
        "subprocess",
        "import subprocess",
        "the commit of the working folder, by git with fixed arguments and what a repository can run off",
    ),
    *(
        Allowed(
            path,
            "socket",
            "import socket",
            "pairs of sockets between the batch and its own processes, and this host's name: no address",
        )
        for path in (
            "medseg/batch/channel.py",
            "medseg/batch/supervise.py",
            "medseg/batch/zygote.py",
            "medseg/lock.py",
            "medseg/training/lock.py",
        )
    ),
    Allowed(
        "medseg/batch/zygote.py",
        "subprocess",
        "import subprocess",
        "this interpreter, from which the batch's processes are forked; no shell, no text of a user",
    ),
    Allowed(
        "medseg/convert/nnunet_checkpoint.py",
        "subprocess",
        "import subprocess",
        "this interpreter with our own file, which reads a foreign checkpoint without rights",
    ),
    Allowed(
        "medseg/convert/monai_bundle.py",
        "archive",
        "import zipfile",
        "files of a bundle, read by names that were checked, into memory or a nameless file: never unpacked",
    ),
    *(
        Allowed(
            "medseg/convert/nnunet_unpickle.py",
            "pickle",
            text,
            "the sandbox: a process without rights, network and files; tensors and plain values only",
        )
        for text in (
            'checkpoint = torch.load(file, map_location="cpu", weights_only=True)',
            'torch.save({"weight": torch.zeros(1), "numbers": numbers, "device": torch.device("cpu")}, file)',
            "torch.load(file, weights_only=True)",
        )
    ),
    Allowed(
        "medseg/__init__.py",
        "code",
        "return getattr(import_module(_HOMES[name]), name)",
        "lazy names of the package, from a table of its own modules",
    ),
    Allowed(
        "medseg/report/templating.py",
        "markup",
        "style=Markup(style),  # noqa: S704 - our own file, filled with our own colours",
        "a file of the package, filled with colours of the package",
    ),
    Allowed(
        "medseg/report/templating.py",
        "markup",
        "script=Markup(script),  # noqa: S704 - our own files",
        "files of the package, without variables",
    ),
)

BANNED = {
    "import pickle": "pickle",
    "from dill import loads": "pickle",
    "import os, marshal": "pickle",
    "import torch as t\nt.load('m.pt')": "pickle",
    "from torch import load": "pickle",
    "import numpy as np\nnp.load('a.npy', allow_pickle=True)": "pickle",
    "import numpy as np\nnp.load('a.npy')": "pickle",
    "read(path, allow_pickle=flag)": "pickle",
    "eval(text)": "code",
    "exec(text)": "code",
    "compile(text, 'a', 'exec')": "code",
    "__import__(name)": "code",
    "from importlib import import_module\nimport_module(told)": "code",
    "import yaml\nyaml.load(text, Loader=yaml.SafeLoader)": "yaml",
    "import yaml\nyaml.unsafe_load(text)": "yaml",
    "from yaml import full_load": "yaml",
    "import yaml\nclass Mine(yaml.UnsafeLoader): pass": "yaml",
    "import tarfile": "archive",
    "archive.extractall(folder)": "archive",
    "import shutil\nshutil.unpack_archive(path)": "archive",
    "import subprocess": "subprocess",
    "import os\nos.execv(path, [])": "subprocess",
    "run(command, shell=True)": "shell",
    "run(command, shell=flag)": "shell",
    "import os\nos.system(command)": "shell",
    "import tempfile\ntempfile.mktemp()": "mktemp",
    "import urllib.request": "network",
    "from http.client import HTTPConnection": "network",
    "import requests": "network",
    "def f():\n    import socket": "socket",
    "import socket\nsocket.create_connection(address)": "network",
    "import socket as s\ns.socket()": "network",
    "try:\n    f()\nexcept:\n    pass": "except",
    "try:\n    f()\nexcept (OSError, BaseException):\n    pass": "except",
    "with suppress(BaseException):\n    f()": "except",
    "assert path.exists()": "assert",
    "print(path)": "print",
    "Markup(name)": "markup",
    "Environment(loader=loader)": "markup",
}
HARMLESS = (
    "network.eval()",
    "import re\nre.compile('a')",
    "from urllib.parse import parse_qsl",
    "import numpy as np\nnp.load('a.npy', allow_pickle=False)",
    "import yaml\nyaml.safe_load(text)",
    "import yaml\nclass Mine(yaml.SafeLoader): pass",
    "try:\n    f()\nexcept OSError:\n    pass",
    "try:\n    f()\nexcept BaseException:\n    tidy()\n    raise",
    "Markup('<b>{}</b>').format(name)",
    "Environment(loader=loader, autoescape=True)",
)


@pytest.mark.row("G31")
@pytest.mark.parametrize("source", BANNED)
def test_what_is_banned_is_found(source: str) -> None:
    assert BANNED[source] in {finding.rule for finding in find_banned(source)}


@pytest.mark.row("G31")
@pytest.mark.parametrize("source", HARMLESS)
def test_what_is_harmless_is_let_pass(source: str) -> None:
    assert find_banned(source) == []


@pytest.mark.row("G31")
def test_the_program_holds_only_allowed_lines(counts: Callable[[int], None]) -> None:
    allowed = {(one.path, one.rule, one.text) for one in ALLOWED}
    found, tools = set(), []
    for path in SOURCES:
        name = path.relative_to(ROOT).as_posix()
        for finding in find_banned(path.read_text(encoding="utf-8")):
            if name.startswith("medseg/") or finding.rule not in OF_TOOLS:
                found.add((name, finding.rule, finding.text))
            else:
                tools.append(finding)
    assert sorted(found - allowed) == []
    assert sorted(allowed - found) == [], "allowed, but nobody needs it: take it off the list"
    assert all(one.reason for one in ALLOWED)
    counts(len(SOURCES))


@pytest.mark.row("G31")
def test_templates_never_switch_escaping_off(counts: Callable[[int], None]) -> None:
    templates = sorted((ROOT / "medseg" / "report" / "templates").iterdir())
    for template in templates:
        text = template.read_text(encoding="utf-8")
        for word in ("|safe", "| safe", "autoescape", "innerHTML", "outerHTML", "document.write", "eval("):
            assert word not in text, f"{template.name}: {word}"
    counts(len(templates))
