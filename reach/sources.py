"""Find the source files of a program, that is, of a module and all its imports, without running them.

The cache of compiled kernels and the results of a study are valid until these files change. Imports are found as import
statements, as strings such as "package.module" or "package.module:function", and as data files of a package. Names that
are computed at run time are not found.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, resolve_name
from itertools import accumulate
from pathlib import Path

STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
# Folders of installed packages.
INSTALLED = frozenset({"site-packages", "dist-packages"})
NAMED_MODULE = re.compile(r"(\.*[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?::[A-Za-z_]\w*)?")
NAMED_FILE = re.compile(r"[\w-][\w./-]*\.\w+")
IMPORTERS = frozenset({"import_module", "__import__"})
DIGEST_DIGITS = 16

# Module and imported names of an import statement; a relative module starts with dots.
Import = tuple[str, tuple[str, ...]]
Find = Callable[[str], ModuleSpec | None]


@dataclass(frozen=True)
class Syntax:
    """The content of a Python file without comments, docstrings, formatting and what is imported for typing only.

    Attributes:
        digest: hash of the syntax tree.
        imports: import statements.
        texts: strings.
        imports_by_name: whether the file calls `import_module`, so that any string may name a module.
    """

    digest: str
    imports: tuple[Import, ...] = ()
    texts: frozenset[str] = frozenset()
    imports_by_name: bool = False


def sources_of(
    starts: Iterable[str | Path],
    *,
    leave_out: Callable[[str], object] = lambda name: False,
    only_globals: bool = False,
) -> tuple[dict[str, Path], set[str]]:
    """Return the files of some modules and of all their direct and indirect imports, and the libraries they use.

    The standard library is left out. An installed package counts as a library unless it contains one of `starts`.

    Args:
        starts: names of modules, or scripts; modules in the folder of a script are found too.
        leave_out: function that returns, by name, whether to skip a module and its imports.
        only_globals: whether to follow only import statements at the top level of a file, and an enclosing package only
            if a name is imported from it.

    Returns:
        Files by name of the module; scripts by file name, data files of a package by "package/name". Import names of
        the installed packages.

    Raises:
        ModuleNotFoundError: one of `starts` cannot be found.
    """
    starts = list(starts)
    scripts = [start for start in starts if isinstance(start, Path)]
    names = [start for start in starts if isinstance(start, str)]
    find = _finder([str(script.parent) for script in scripts])
    for name in names:
        if find(name) is None:
            raise ModuleNotFoundError(f"no module named {name!r} can be found")
    programs = {_top(name) for name in (__name__, *names)}
    imported_by = _global_imports if only_globals else _all_imports
    files: dict[str, Path] = {script.name: script for script in scripts}
    libraries: set[str] = set()
    waiting = names if only_globals else [module for name in names for module in _with_packages(name)]
    waiting += [name for script in scripts for name in imported_by(script, "", find)]
    visited: set[str] = set()
    while waiting:
        name = waiting.pop()
        spec = None if name in visited or leave_out(name) else find(name)
        visited.add(name)
        if spec is None or spec.origin is None or not spec.has_location:
            continue
        file = Path(spec.origin)
        is_installed = not INSTALLED.isdisjoint(file.parts)
        if is_installed and _top(name) not in programs:
            libraries.add(_top(name))
        elif is_installed or not file.is_relative_to(STANDARD_LIBRARY):
            package = name.rpartition(".")[0] if spec.submodule_search_locations is None else name
            files[name] = file
            waiting += imported_by(file, package, find)
            if not only_globals and package:
                files |= _data_files(file, package)
    return files, libraries


def _finder(folders: list[str]) -> Find:
    """Return a function that finds modules as an import statement does, without running their packages.

    Args:
        folders: folders to search after those of an import statement.
    """

    @cache
    def find(name: str) -> ModuleSpec | None:
        package = name.rpartition(".")[0]
        if package:
            holder = find(package)
            places = None if holder is None else holder.submodule_search_locations
            return None if places is None else PathFinder.find_spec(name, list(places))
        spec = PathFinder.find_spec(name, [*sys.path, *folders])
        if spec is None:
            with suppress(ValueError):  # a loaded module that was not imported from anywhere
                spec = find_spec(name)
        return spec

    return find


def _top(name: str) -> str:
    return name.partition(".")[0]


def _with_packages(name: str) -> list[str]:
    """Return a module and its enclosing packages, outermost first."""
    return list(accumulate(name.split("."), "{}.{}".format))


def _absolute(name: str, package: str) -> str:
    """Return the absolute name of a module that a file in `package` imports; "" if there is none."""
    with suppress(ImportError):
        return resolve_name(name, package)
    return ""


def _global_imports(file: Path, package: str, find: Find) -> Iterator[str]:
    """Yield the modules that statements at the top level of a file in `package` import."""
    for module, names in _top_level_imports(file, *_state(file)):
        holder = _absolute(module, package)
        inner = [f"{holder}.{name}" for name in names if find(f"{holder}.{name}")]
        yield from inner
        if len(inner) < len(names) or not names:
            yield holder


def _all_imports(file: Path, package: str, find: Find) -> Iterator[str]:
    """Yield the modules that a file in `package` imports or names in strings, with their packages."""
    syntax = _syntax(file, *_state(file))
    for module, names in syntax.imports:
        holder = _absolute(module, package)
        yield from _with_packages(holder)
        yield from (f"{holder}.{name}" for name in names)
    for text in syntax.texts:
        match = NAMED_MODULE.fullmatch(text)
        if match is not None and (syntax.imports_by_name or "." in text or ":" in text):
            # A name in a string may end in names of classes or functions.
            yield from _with_packages(_absolute(match[1], package))
            if syntax.imports_by_name:
                yield from _with_packages(f"{package}.{match[1]}")


def _data_files(file: Path, package: str) -> dict[str, Path]:
    """Return the data files in the folder of a file that its strings name, by "package/name"."""
    texts = filter(NAMED_FILE.fullmatch, _syntax(file, *_state(file)).texts)
    return {f"{package}/{text}": file.parent / text for text in texts if (file.parent / text).is_file()}


def _state(file: Path) -> tuple[int, int]:
    """Return time of modification and size of a file, to detect changes."""
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


def _imports_in(nodes: Iterable[ast.AST]) -> tuple[Import, ...]:
    imports: list[Import] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            imports += [(alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append(("." * node.level + (node.module or ""), tuple(alias.name for alias in node.names)))
    return tuple(imports)


@cache
def _top_level_imports(file: Path, changed_ns: int, size: int) -> tuple[Import, ...]:
    try:
        return _imports_in(ast.parse(file.read_bytes()).body)
    except (RecursionError, SyntaxError, ValueError):  # not Python
        return ()


@cache
def _syntax(file: Path, changed_ns: int, size: int) -> Syntax:
    """Return the syntax of a file, or only the hash of its bytes if it is not Python or too deeply nested."""
    data = file.read_bytes()
    try:
        tree = ast.parse(data)
        nodes = list(_nodes(tree))
        code = ast.dump(tree).encode()
    except (RecursionError, SyntaxError, ValueError):
        return Syntax(_digest(data))
    texts = frozenset(str(node.value) for node in nodes if isinstance(node, ast.Constant) and _is_text(node))
    imports_by_name = any(isinstance(node, ast.Call) and _name(node.func) in IMPORTERS for node in nodes)
    return Syntax(_digest(code), _imports_in(nodes), texts, imports_by_name)


def _nodes(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes of a tree; remove strings that are statements, such as docstrings, and blocks for typing only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING":
            node.body = []
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [part for part in body if not (isinstance(part, ast.Expr) and _is_text(part.value))]
        yield node


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _name(node: ast.AST) -> str:
    """Return the identifier of a name or attribute; "" for any other expression."""
    return str(getattr(node, "id", getattr(node, "attr", "")))


def file_digest(file: Path) -> str:
    """Return the hash of a file: for Python of its syntax, without comments, docstrings and formatting."""
    return _syntax(file, *_state(file)).digest if file.suffix == ".py" else _digest(file.read_bytes())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGEST_DIGITS]
