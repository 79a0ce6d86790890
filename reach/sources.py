"""Find the source files of a program, that is, of a module and all its imports, without running them.

The cache of compiled kernels and the results of a study are valid until these files change. Imports are found as import
statements, as strings such as "package.module" or "package.module:function", and as data files of a package. Names that
are computed at run time are not found.
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
from itertools import accumulate
from pathlib import Path

STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
# Folders of installed packages.
INSTALLED = frozenset({"site-packages", "dist-packages"})
NAMED_MODULE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)|([A-Za-z_][\w.]*):[A-Za-z_]\w*")
NAMED_FILE = re.compile(r"[\w-][\w./-]*\.\w+")
IMPORTERS = frozenset({"import_module", "__import__"})
# Fields of a statement that hold other statements.
STATEMENTS = ("body", "handlers", "cases", "orelse", "finalbody")
DIGEST_DIGITS = 16


@dataclass(frozen=True)
class Import:
    """An import statement: module, level of a relative import, imported names, and whether it is in a function."""

    module: str
    level: int = 0
    names: tuple[str, ...] = ()
    in_function: bool = False


@dataclass(frozen=True)
class Syntax:
    """The content of a Python file without comments, docstrings and formatting.

    Attributes:
        digest: hash of the syntax tree.
        modules: dotted names in strings, and arguments of `import_module`.
        names: other strings that may name a module, if an argument of `import_module` is not a literal.
        files: strings that may name a file.
    """

    digest: str
    modules: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Sources:
    """The source files and libraries of a program.

    Attributes:
        files: source files by module name; scripts by file name, data files of a package by "package/name".
        libraries: import names of the installed packages that the program imports.
    """

    files: dict[str, Path]
    libraries: frozenset[str]

    def digests(self) -> dict[str, str]:
        """Return the hash of each file."""
        return {name: file_digest(file) for name, file in sorted(self.files.items())}


def sources_of(
    starts: Iterable[str | Path],
    *,
    leave_out: Callable[[str], object] = lambda name: False,
    only_globals: bool = False,
) -> Sources:
    """Return the files of some modules and of all their direct and indirect imports.

    The standard library is left out. An installed package counts as a library unless it contains one of `starts`.

    Args:
        starts: names of modules, or scripts; modules in the folder of a script are found too.
        leave_out: function that returns, by name, whether to skip a module and its imports.
        only_globals: whether to follow only imports of global names: not those inside functions or strings, nor
            enclosing packages from which no name is imported.

    Raises:
        ModuleNotFoundError: one of `starts` cannot be found.
    """
    starts = list(starts)
    scripts = {start.name: start for start in starts if isinstance(start, Path)}
    names = [start for start in starts if isinstance(start, str)]
    search = _Search([str(script.parent) for script in scripts.values()])
    for name in names:
        if search.find(name) is None:
            raise ModuleNotFoundError(f"no module named {name!r} can be found")
    programs = {_top(name) for name in (__name__, *names)}
    files: dict[str, Path] = dict(scripts)
    libraries: set[str] = set()
    unread = [(script, "") for script in scripts.values()]  # pairs of file and its package
    waiting = names if only_globals else [module for name in names for module in _with_packages(name)]
    visited: set[str] = set()
    while waiting or unread:
        for name in {name for name in waiting if not leave_out(name)} - visited:
            visited.add(name)
            spec = search.find(name)
            place = STANDARD_LIBRARY if spec is None else _place(spec)
            is_installed = not INSTALLED.isdisjoint(place.parts)
            if is_installed and _top(name) not in programs:
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
    """Yield the names of the modules that a file in `package` imports or names in strings."""
    for statement in _imports(file, *_state(file)):
        if not (only_globals and statement.in_function):
            yield from _imported(statement, package, search, only_globals)
    if only_globals:
        return
    syntax = _syntax(file, *_state(file))
    for text in syntax.modules:
        yield from _named(text, package, search)
    for text in syntax.names:
        yield from (name for name in (text, f"{package}.{text}") if search.find(name))


class _Search:
    """Find modules as an import statement does, without running their packages.

    Args:
        last: folders to search after those of an import statement.
    """

    def __init__(self, last: Sequence[str]) -> None:
        self._last = last
        self._specs: dict[str, ModuleSpec | None] = {}

    def find(self, name: str) -> ModuleSpec | None:
        if name not in self._specs:
            package = name.rpartition(".")[0]
            self._specs[name] = self._find_inside(package, name) if package else self._find_top(name)
        return self._specs[name]

    def _find_inside(self, package: str, name: str) -> ModuleSpec | None:
        holder = self.find(package)
        places = None if holder is None else holder.submodule_search_locations
        return None if places is None else PathFinder.find_spec(name, list(places))

    def _find_top(self, name: str) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name)
        if spec is None:
            with suppress(ValueError):  # a loaded module that was not imported from anywhere
                spec = find_spec(name)
        return spec or PathFinder.find_spec(name, self._last)


def _place(spec: ModuleSpec) -> Path:
    """Return the file of a module, or the folder of one without a file; for built-in modules the standard library."""
    if spec.has_location and spec.origin is not None:
        return Path(spec.origin)
    return Path(next(iter(spec.submodule_search_locations or ()), STANDARD_LIBRARY))


def _top(name: str) -> str:
    return name.partition(".")[0]


def _with_packages(name: str) -> list[str]:
    """Return a module and its enclosing packages, outermost first."""
    return list(accumulate(name.split("."), "{}.{}".format))


def _imported(statement: Import, package: str, search: _Search, only_globals: bool) -> Iterator[str]:
    """Yield the modules that an import statement in `package` imports."""
    module = _absolute(statement.module, statement.level, package)
    if not module:
        return
    inner = [name for name in statement.names if search.find(f"{module}.{name}")]
    yield from (f"{module}.{name}" for name in inner)
    if not only_globals:
        yield from _with_packages(module)
    elif len(inner) < len(statement.names) or not statement.names:
        yield module


def _absolute(module: str, level: int, package: str) -> str:
    """Return the absolute name of a relative import in `package`; "" if there is none."""
    if not level:
        return module
    parts = package.split(".") if package else []
    base = parts[: len(parts) - level + 1]
    return ".".join([*base, module] if module else base) if base else ""


def _named(text: str, package: str, search: _Search) -> list[str]:
    """Return the modules that a string names; a dotted name may end in names of classes or functions."""
    level = len(text) - len(text.lstrip("."))
    name = _absolute(text[level:], level, package)
    return [module for module in _with_packages(name) if name and search.find(module)]


@lru_cache(maxsize=1)
def _tree(file: Path, changed_ns: int, size: int) -> ast.Module | None:
    """Return the syntax tree of a file; None if the file is not Python."""
    try:
        return ast.parse(file.read_bytes())
    except (RecursionError, SyntaxError, ValueError):
        return None


def _state(file: Path) -> tuple[int, int]:
    """Return time of modification and size of a file, to detect changes."""
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


@cache
def _imports(file: Path, changed_ns: int, size: int) -> tuple[Import, ...]:
    """Return the import statements of a file, except under TYPE_CHECKING; none if the file is not Python."""
    tree = _tree(file, changed_ns, size)
    waiting: list[tuple[ast.AST, bool]] = [] if tree is None else [(tree, False)]
    statements = []
    while waiting:
        node, in_function = waiting.pop()
        if isinstance(node, ast.Import):
            statements += [Import(alias.name, in_function=in_function) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            statements.append(Import(node.module or "", node.level, tuple(a.name for a in node.names), in_function))
        else:
            inside = in_function or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            parts = ("orelse",) if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING" else STATEMENTS
            waiting += [(below, inside) for part in parts for below in getattr(node, part, ())]
    return tuple(statements)


@cache
def _syntax(file: Path, changed_ns: int, size: int) -> Syntax:
    """Return the syntax of a file, or only the hash of its bytes if it is not Python or too deeply nested."""
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
    """A traversal of a syntax tree.

    Attributes:
        said: the tree as text, without statements that consist of a string only, such as docstrings.
        texts: all strings in the tree.
        imported: arguments of `import_module`; "" for arguments that are not literals.
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
    """Return the value of a string literal; "" for any other expression."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _name(node: ast.AST) -> str:
    """Return the identifier of a name or attribute; "" for any other expression."""
    return str(getattr(node, "id", getattr(node, "attr", "")))


def file_digest(file: Path) -> str:
    """Return the hash of a file: for Python of its syntax, without comments, docstrings and formatting."""
    if file.suffix == ".py":
        return _syntax(file, *_state(file)).digest
    return _bytes_digest(file, *_state(file))


@cache
def _bytes_digest(file: Path, changed_ns: int, size: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:DIGEST_DIGITS]
