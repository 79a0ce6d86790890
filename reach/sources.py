"""Which source files a module is made of: its own and those of all that it imports, found without running any.

Compiled kernels are kept on disk until one of their files changes, and results of a study until the code that made them
changes. Both ask here. Names that are put together while a program runs cannot be found; those written out can, as
import statements, as text such as "package.module" or "package.module:function", or as a data file of a package.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
# Folders of installed packages.
INSTALLED = frozenset({"site-packages", "dist-packages"})
NAMED_MODULE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)|([A-Za-z_][\w.]*):[A-Za-z_]\w*")
NAMED_FILE = re.compile(r"[\w-][\w./-]*\.\w+")
IMPORTERS = frozenset({"import_module", "__import__"})
# Where a statement holds others.
STATEMENTS = ("body", "handlers", "cases", "orelse", "finalbody")
DIGEST_DIGITS = 16


@dataclass(frozen=True)
class Import:
    """An import statement: of `module`, `level` packages up, and what is taken from it; in a function or outside."""

    module: str
    level: int = 0
    names: tuple[str, ...] = ()
    in_function: bool = False


@dataclass(frozen=True)
class Syntax:
    """What a file says, whatever its comments, docstrings and layout.

    Attributes:
        digest: hash of the syntax tree.
        modules: dotted names written as text, and what `import_module` is called with.
        names: all other text that may name a module, where `import_module` is called with what is not written out.
        files: text that may name a file.
    """

    digest: str
    modules: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Sources:
    """What a program is made of.

    Attributes:
        files: by the name of the module; scripts by their own name, data files of a package by "package/name".
        libraries: installed packages that it imports, by the names under which they are imported.
    """

    files: dict[str, Path]
    libraries: frozenset[str]

    def digests(self) -> dict[str, str]:
        """The hash of each file."""
        return {name: file_digest(file) for name, file in sorted(self.files.items())}


def sources_of(
    starts: Iterable[str | Path],
    *,
    leave_out: Callable[[str], object] = lambda name: False,
    only_globals: bool = False,
    path: Sequence[str] | None = None,
) -> Sources:
    """Find the files of some modules and of all that they import, directly or not.

    The standard library is left out. An installed package counts as a library, unless one of `starts` is in it.

    Args:
        starts: names of modules, or files that are run; modules beside such a file are found too.
        leave_out: says of a module's name whether to pass over it and what it imports.
        only_globals: follow only what the global names of the modules come from: no imports inside functions, no names
            in text, and no packages that hold a module but give no name.
        path: folders to search; None: those of an import statement.

    Raises:
        ModuleNotFoundError: one of `starts` cannot be found.
    """
    starts = list(starts)
    scripts = {start.name: start for start in starts if isinstance(start, Path)}
    names = [start for start in starts if isinstance(start, str)]
    search = _Search(path, [str(script.parent) for script in scripts.values()])
    for name in names:
        if search.find(name) is None:
            raise ModuleNotFoundError(f"no module named {name!r} can be found")
    own = {_top(name) for name in (__name__, *names)}
    files: dict[str, Path] = dict(scripts)
    libraries: set[str] = set()
    unread = [(script, "") for script in scripts.values()]  # with the package that each file is in
    waiting = names if only_globals else [module for name in names for module in _with_packages(name)]
    seen: set[str] = set()
    while waiting or unread:
        for name in {name for name in waiting if not leave_out(name)} - seen:
            seen.add(name)
            spec = search.find(name)
            place = STANDARD_LIBRARY if spec is None else _place(spec)
            is_installed = not INSTALLED.isdisjoint(place.parts)
            if is_installed and _top(name) not in own:
                libraries.add(_top(name))
            elif spec is not None and place.is_file() and (is_installed or not place.is_relative_to(STANDARD_LIBRARY)):
                files[name] = place
                is_package = spec.submodule_search_locations is not None
                unread.append((place, name if is_package else name.rpartition(".")[0]))
        waiting = []
        if unread:
            file, package = unread.pop()
            waiting = list(_modules_in(file, package, search, only_globals))
            if not only_globals and package:
                data = {f"{package}/{text}": file.parent / text for text in _syntax(file, *_state(file)).files}
                files |= {name: place for name, place in data.items() if place.is_file()}
    return Sources(files, frozenset(libraries))


def _modules_in(file: Path, package: str, search: _Search, only_globals: bool) -> Iterator[str]:
    """Names of the modules that a file in `package` imports or names."""
    for one in _imports(file, *_state(file)):
        if not (only_globals and one.in_function):
            yield from _imported(one, package, search, only_globals)
    if only_globals:
        return
    syntax = _syntax(file, *_state(file))
    for text in syntax.modules:
        yield from _named(text, package, search)
    for text in syntax.names:
        yield from (name for name in (text, f"{package}.{text}") if search.find(name))


class _Search:
    """Finds modules as an import statement does, without running the packages that hold them.

    path: folders to search; None: those of an import statement. last: folders that are searched after them.
    """

    def __init__(self, path: Sequence[str] | None, last: Sequence[str]) -> None:
        self._path = path
        self._last = last
        self._found: dict[str, ModuleSpec | None] = {}

    def find(self, name: str) -> ModuleSpec | None:
        if name not in self._found:
            package = name.rpartition(".")[0]
            self._found[name] = self._find_inside(package, name) if package else self._find_top(name)
        return self._found[name]

    def _find_inside(self, package: str, name: str) -> ModuleSpec | None:
        holder = self.find(package)
        places = None if holder is None else holder.submodule_search_locations
        return None if places is None else PathFinder.find_spec(name, list(places))

    def _find_top(self, name: str) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, self._path)
        if spec is None and self._path is None:
            with suppress(ValueError):  # a loaded module that was not imported from anywhere
                spec = find_spec(name)
        return spec or PathFinder.find_spec(name, self._last)


def _place(spec: ModuleSpec) -> Path:
    """The file of a module, the folder of a package without one; of what is built in, that of the standard library."""
    if spec.has_location and spec.origin is not None:
        return Path(spec.origin)
    return Path(next(iter(spec.submodule_search_locations or ()), STANDARD_LIBRARY))


def _top(name: str) -> str:
    return name.partition(".")[0]


def _with_packages(name: str) -> list[str]:
    """A module and the packages that hold it, which are imported first."""
    parts = name.split(".")
    return [".".join(parts[: k + 1]) for k in range(len(parts))]


def _imported(one: Import, package: str, search: _Search, only_globals: bool) -> Iterator[str]:
    """Modules that an import statement in `package` imports."""
    module = _absolute(one.module, one.level, package)
    if not module:
        return
    inner = [name for name in one.names if search.find(f"{module}.{name}")]
    yield from (f"{module}.{name}" for name in inner)
    if not only_globals:
        yield from _with_packages(module)
    elif len(inner) < len(one.names) or not one.names:
        yield module


def _absolute(module: str, level: int, package: str) -> str:
    """The full name of what is imported in `package`, `level` packages up; "" if there is none."""
    if not level:
        return module
    parts = package.split(".") if package else []
    base = parts[: len(parts) - level + 1]
    return ".".join([*base, module] if module else base) if base else ""


def _named(text: str, package: str, search: _Search) -> list[str]:
    """The modules that text names: a dotted name may end in names of classes or functions."""
    level = len(text) - len(text.lstrip("."))
    name = _absolute(text[level:], level, package)
    return [module for module in _with_packages(name) if name and search.find(module)]


@lru_cache(maxsize=1)
def _tree(file: Path, changed_ns: int, size: int) -> ast.Module | None:
    """The syntax tree of a file; None where it is not Python."""
    try:
        return ast.parse(file.read_bytes())
    except (RecursionError, SyntaxError, ValueError):
        return None


def _state(file: Path) -> tuple[int, int]:
    """What changes when a file does."""
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


@cache
def _imports(file: Path, changed_ns: int, size: int) -> tuple[Import, ...]:
    """All import statements of a file but those for type checkers alone; none where it is not Python."""
    tree = _tree(file, changed_ns, size)
    waiting: list[tuple[ast.AST, bool]] = [] if tree is None else [(tree, False)]
    found = []
    while waiting:
        node, in_function = waiting.pop()
        if isinstance(node, ast.Import):
            found += [Import(alias.name, in_function=in_function) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(Import(node.module or "", node.level, tuple(a.name for a in node.names), in_function))
        else:
            inside = in_function or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            parts = ("orelse",) if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING" else STATEMENTS
            waiting += [(below, inside) for part in parts for below in getattr(node, part, ())]
    return tuple(found)


@cache
def _syntax(file: Path, changed_ns: int, size: int) -> Syntax:
    """What a file says; of one that is not Python, or is nested too deeply, the hash of its bytes alone."""
    tree = _tree(file, changed_ns, size)
    reading = _Reading()
    try:
        reading.read(tree)
    except RecursionError:
        tree = None
    if tree is None:
        return Syntax(_bytes_digest(file, changed_ns, size))
    matches = filter(None, map(NAMED_MODULE.fullmatch, reading.texts))
    return Syntax(
        hashlib.sha256("\n".join(reading.said).encode()).hexdigest()[:DIGEST_DIGITS],
        frozenset(reading.imported | {match[1] or match[2] for match in matches} - {""}),
        frozenset(filter(str.isidentifier, reading.texts)) if "" in reading.imported else frozenset(),
        frozenset(filter(NAMED_FILE.fullmatch, reading.texts)),
    )


class _Reading:
    """One way through a syntax tree.

    Attributes:
        said: the tree as text, without statements that are nothing but text, such as docstrings.
        texts: all text in it.
        imported: what `import_module` is called with; "" for what is not written out.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self.texts: set[str] = set()
        self.imported: set[str] = set()

    def read(self, node: object) -> None:
        if not isinstance(node, ast.AST):
            self.said.append(repr(node))
            return
        self.said.append(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if type(value) is list:
                self.said.append("[")
                for item in value:
                    if not (isinstance(item, ast.Expr) and _text(item.value)):
                        self.read(item)
                self.said.append("]")
            else:
                self.read(value)
        if isinstance(node, ast.Constant):
            self.texts.add(_text(node))
        elif isinstance(node, ast.Call) and _name(node.func) in IMPORTERS and node.args:
            self.imported.add(_text(node.args[0]))


def _text(node: ast.AST) -> str:
    """The text that an expression is; "" for any other."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _name(node: ast.AST) -> str:
    """What a name or attribute is called; "" for any other expression."""
    return str(getattr(node, "id", getattr(node, "attr", "")))


def file_digest(file: Path) -> str:
    """The hash of a file: of its syntax if it is Python, so that comments, docstrings and layout do not count."""
    if file.suffix == ".py":
        return _syntax(file, *_state(file)).digest
    return _bytes_digest(file, *_state(file))


@cache
def _bytes_digest(file: Path, changed_ns: int, size: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:DIGEST_DIGITS]
