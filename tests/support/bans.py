"""What no line of the program may do, found in its syntax tree rather than by its spelling.

A pickle, an archive or a YAML tag must not be able to run code; a file name must not reach a shell; nothing
must reach the network; and no fault may be swallowed whole.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

BANNED_MODULES = {
    **dict.fromkeys(("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib"), "pickle"),
    **dict.fromkeys(("shelve", "marshal", "dbm", "jsonpickle"), "pickle"),
    **dict.fromkeys(("tarfile", "zipfile", "zipimport"), "archive"),
    **dict.fromkeys(("http", "urllib", "urllib3", "requests", "httpx", "aiohttp", "ssl"), "network"),
    **dict.fromkeys(("socketserver", "ftplib", "smtplib", "telnetlib", "xmlrpc", "webbrowser"), "network"),
    "socket": "socket",
    **dict.fromkeys(("subprocess", "pty", "commands", "sh", "pexpect"), "subprocess"),
    **dict.fromkeys(("code", "codeop", "runpy", "imp"), "code"),
}
BANNED_NAMES = {
    "eval": "code",
    "exec": "code",
    "compile": "code",
    "__import__": "code",
    "print": "print",
    "breakpoint": "code",
    "input": "print",
}
BANNED_CALLS = {
    **dict.fromkeys(("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"), "shell"),
    **dict.fromkeys(("asyncio.create_subprocess_shell", "asyncio.create_subprocess_exec"), "subprocess"),
    **dict.fromkeys(("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.full_load_all"), "yaml"),
    **dict.fromkeys(("yaml.unsafe_load_all", "yaml.dump", "yaml.dump_all"), "yaml"),
    **dict.fromkeys(
        ("torch.load", "torch.save", "torch.jit.load", "torch.package.PackageImporter"), "pickle"
    ),
    **dict.fromkeys(
        ("torch.hub.load", "torch.hub.load_state_dict_from_url", "torch.hub.load_url"), "network"
    ),
    **dict.fromkeys(("socket.create_connection", "socket.create_server", "socket.getaddrinfo"), "network"),
    **dict.fromkeys(("shutil.unpack_archive", "shutil.make_archive"), "archive"),
    **dict.fromkeys(("tempfile.mktemp", "os.tempnam"), "mktemp"),
    **dict.fromkeys(("builtins.eval", "builtins.exec", "builtins.compile"), "code"),
}
_CALL_PREFIXES = {"os.exec": "subprocess", "os.spawn": "subprocess", "os.posix_spawn": "subprocess"}
_METHODS = {"extractall": "archive", "unpack_archive": "archive"}
_UNSAFE_LOADERS = ("Loader", "UnsafeLoader", "FullLoader", "CLoader", "CUnsafeLoader", "CFullLoader")


@dataclass(frozen=True)
class Finding:
    """A line that a rule forbids."""

    rule: str
    line: int
    text: str


def find_banned(source: str) -> list[Finding]:
    """All findings of a Python file."""
    tree, lines = ast.parse(source), source.splitlines()
    names = _imported_names(tree)
    found = {(rule, node.lineno) for node in ast.walk(tree) for rule in _rules(node, names) if rule}
    return [Finding(rule, line, lines[line - 1].strip()) for rule, line in sorted(found, key=lambda f: f[1])]


def _rules(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    match node:
        case ast.Import(names=aliases):
            yield from (_module_rule(alias.name) for alias in aliases)
        case ast.ImportFrom(module=str(module), names=aliases, level=0):
            yield _module_rule(module)
            yield from (BANNED_CALLS.get(f"{module}.{alias.name}", "") for alias in aliases)
        case ast.Assert():
            yield "assert"
        case ast.ExceptHandler(type=caught, body=body):
            everything = caught is None or any(_last(one) == "BaseException" for one in _each(caught))
            if everything and not (isinstance(body[-1], ast.Raise) and body[-1].exc is None):
                yield "except"
        case ast.ClassDef(bases=bases):
            if any(_last(base) in _UNSAFE_LOADERS for base in bases):
                yield "yaml"
        case ast.Call():
            yield from _call_rules(node, names)


def _call_rules(call: ast.Call, names: dict[str, str]) -> Iterator[str]:
    name = _dotted(call.func, names)
    told = {keyword.arg: keyword.value for keyword in call.keywords}
    yield BANNED_NAMES.get(name, "")
    yield BANNED_CALLS.get(name, "")
    yield next((rule for prefix, rule in _CALL_PREFIXES.items() if name.startswith(prefix)), "")
    yield _METHODS.get(_last(call.func), "")
    if not _is_false(told.get("shell", ast.Constant(value=False))):
        yield "shell"
    if name == "socket.socket" and "fileno" not in told:
        yield "network"
    if name == "yaml.load":
        yield "yaml"
    if name == "numpy.load" and not _is_false(told.get("allow_pickle")):
        yield "pickle"
    if not _is_false(told.get("allow_pickle", ast.Constant(value=False))):
        yield "pickle"
    if _last(call.func) in ("suppress", "raises") and any(_last(one) == "BaseException" for one in call.args):
        yield "except"
    if name.endswith("importlib.import_module") and not isinstance(call.args[0], ast.Constant):
        yield "code"
    if _last(call.func) == "Markup" and call.args and not isinstance(call.args[0], ast.Constant):
        yield "markup"
    if _last(call.func) == "Environment" and not _is_true(told.get("autoescape")):
        yield "markup"


def _imported_names(tree: ast.AST) -> dict[str, str]:
    """What a name of this file stands for: ``np`` for ``numpy``, ``load`` for ``yaml.load``."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _module_rule(module: str) -> str:
    if module == "urllib.parse":  # taking addresses apart, nothing is opened
        return ""
    return BANNED_MODULES.get(module.split(".", maxsplit=1)[0], "")


def _dotted(node: ast.AST, names: dict[str, str]) -> str:
    """``np.load`` as ``numpy.load``; empty for what is no plain name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, names)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def _last(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _each(caught: ast.expr) -> list[ast.expr]:
    return caught.elts if isinstance(caught, ast.Tuple) else [caught]


def _is_false(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _is_true(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
