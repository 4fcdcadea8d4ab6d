"""What code a workflow script depends on, as hashes that change when its meaning may.

Snakemake notices neither an edited package module nor, beyond its time stamp, an edited script.
Rules therefore carry `params.code`: the script and every first-party module that it imports,
directly or not, each with the hash of its syntax tree. Three rules decide what counts:

- Comments, docstrings (any string that stands alone as a statement), `pass`, layout, and the body
  of `if TYPE_CHECKING:` cannot change a result and are not hashed. Everything else is, names of
  aliases included: a needless rerun is cheaper than a stale table.
- An import counts wherever it stands (inside functions, conditions, `try`), except under
  `TYPE_CHECKING`. Importing `a.b.c` also runs `a` and `a.b`, so these count too.
- A package's data (templates, style sheets: any file beside or below its modules that is not
  Python, not hidden, and not below another package) counts by its bytes as soon as any module of
  that package does.

Imports are read from the source, never executed, so first-party imports must be import statements:
a test of the project forbids `importlib.import_module` and its like.
"""

from __future__ import annotations

import ast
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from artneuro.core.errors import CodeError

PACKAGE = "artneuro"
# 64 bits: Snakemake stores and prints these for every job, so they are kept short.
DIGITS = 16
IGNORED_DATA = ("py.typed",)
IGNORED_SUFFIXES = (".pyc", ".pyo", ".so", "~", ".swp", ".orig", ".rej", ".tmp")


@dataclass(frozen=True)
class _Import:
    """One import statement: `module` at `level` dots, and the `names` taken from it."""

    module: str
    level: int
    names: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class _Source:
    """A parsed file: the hash of its syntax tree and its imports that may be first-party."""

    digest: str
    imports: tuple[_Import, ...]


# Keyed by path; valid while time stamp and size of the file stay as they were.
_parsed: dict[Path, tuple[tuple[int, int], _Source]] = {}
_bytes: dict[Path, tuple[tuple[int, int], str]] = {}


def code_hashes(script: str | Path, root: str | Path) -> dict[str, str]:
    """Hash a script, its transitive first-party imports, and the data of their packages.

    Parameters
    ----------
    script : path
        A workflow script, absolute or relative to `root`.
    root : path
        The folder of the workflow, with the package in `src/artneuro`.

    Returns
    -------
    dict of str to str
        Sorted by name, the same on every machine and in every folder. Keys are dotted module names,
        and for the script and for data files the path relative to `root`.

    Raises
    ------
    CodeError
        If a file cannot be read or parsed, or imports a first-party module that does not exist.
    """
    base = Path(os.path.abspath(root))
    start = Path(os.path.abspath(base / script))
    try:
        name = start.relative_to(base).as_posix()
    except ValueError:
        name = start.name
    tree = _Modules(base / "src")

    found = {name: _read(start).digest}
    modules: dict[str, Path] = {}
    waiting = _resolve(_read(start).imports, None, tree, start)
    while waiting:
        module, path = waiting.popitem()
        if module in modules:
            continue
        modules[module] = path
        parsed = _read(path)
        found[module] = parsed.digest
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        waiting |= _resolve(parsed.imports, package, tree, path)
    for folder in sorted({path.parent for path in modules.values()}):
        for file in _data_files(folder):
            found[file.relative_to(base).as_posix()] = _digest_of_bytes(file)
    return dict(sorted(found.items()))


class _Modules:
    """The modules below a source folder. Folders are listed once, while one script is resolved.

    Names are looked up in listings because a file system that ignores case would otherwise find
    the module `config` for the class `Config`.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self._listings: dict[Path, frozenset[str]] = {}

    def _names(self, folder: Path) -> frozenset[str]:
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._listings[folder] = frozenset()
        return self._listings[folder]

    def submodules(self, package: str) -> list[str]:
        """Names of the modules and packages directly in `package`."""
        folder = self.source.joinpath(*package.split("."))
        names = {name.removesuffix(".py") for name in self._names(folder)}
        return sorted(n for n in names if n != "__init__" and self.find(f"{package}.{n}"))

    def is_folder(self, module: str) -> bool:
        """Whether `module` is a folder, with or without an `__init__.py`."""
        return bool(self._names(self.source.joinpath(*module.split("."))))

    def find(self, module: str) -> Path | None:
        """The file of a dotted module name, None where there is none."""
        path = self.source.joinpath(*module.split("."))
        here = self._names(path.parent)
        if path.name in here and "__init__.py" in self._names(path):
            return path / "__init__.py"
        return path.with_name(f"{path.name}.py") if f"{path.name}.py" in here else None


def _resolve(
    imports: tuple[_Import, ...], package: str | None, tree: _Modules, importer: Path
) -> dict[str, Path]:
    """The first-party modules, parents included, that `imports` of a file in `package` run."""
    found: dict[str, Path] = {}

    def add(module: str) -> bool:
        path = tree.find(module)
        if path is None:
            return False
        found[module] = path
        parts = module.split(".")
        for i in range(1, len(parts)):
            parent = ".".join(parts[:i])
            parent_path = tree.find(parent)
            if parent_path is not None:
                found[parent] = parent_path
        return True

    for statement in imports:
        target = statement.module
        if statement.level:
            if package is None:
                raise CodeError(
                    "a relative import in a script that is not part of a package",
                    where=f"{importer}:{statement.line}",
                    fix=f"import from {PACKAGE}.<stage> instead",
                )
            parts = package.split(".")
            parts = parts[: len(parts) - statement.level + 1]
            target = ".".join([*parts, target] if target else parts)
        if target.split(".")[0] != PACKAGE:
            continue
        # A folder without __init__.py is a namespace package: nothing to hash, but importable.
        if not add(target) and not tree.is_folder(target):
            raise CodeError(
                f"imports {target}, which does not exist",
                where=f"{importer}:{statement.line}",
                fix="correct the import or add the module",
            )
        for name in statement.names:
            if name == "*":
                # `__all__` may name submodules, which a star import then loads.
                for submodule in tree.submodules(target):
                    add(f"{target}.{submodule}")
            else:
                add(f"{target}.{name}")
    return found


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise CodeError(
            f"cannot read the file ({error.strerror})", where=str(path), fix="restore the file"
        ) from error
    return stat.st_mtime_ns, stat.st_size


def _read(path: Path) -> _Source:
    """Parse a Python file, or take it from the cache of this process."""
    stamp = _stamp(path)
    known = _parsed.get(path)
    if known is not None and known[0] == stamp:
        return known[1]
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise CodeError(
            f"cannot parse the file ({getattr(error, 'msg', error)})",
            where=f"{path}:{line}" if line else str(path),
            fix="correct the syntax",
        ) from error
    parts: list[str] = []
    imports: list[_Import] = []
    _walk(tree, parts, imports)
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
    source = _Source(digest, tuple(imports))
    _parsed[path] = (stamp, source)
    return source


def _walk(node: ast.AST, parts: list[str], imports: list[_Import]) -> None:
    """Append what `node` means to `parts`, and its first-party imports to `imports`.

    `ast.dump` is not used because its text differs between versions of Python: 3.12 added fields
    and 3.13 leaves empty ones out. Fields that are empty are left out here in every version.
    """
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
        imports += [_Import(n, 0, (), node.lineno) for n in names if n.split(".")[0] == PACKAGE]
    elif isinstance(node, ast.ImportFrom):
        first = (node.module or "").split(".")[0]
        if node.level or first == PACKAGE:
            taken = tuple(alias.name for alias in node.names)
            imports.append(_Import(node.module or "", node.level, taken, node.lineno))
    parts.append(type(node).__name__)
    parts.append("(")
    for field in node._fields:
        value = getattr(node, field, None)
        if value is None and not isinstance(node, ast.Constant):
            continue
        if field in ("kind", "ctx"):
            # u"x" equals "x"; whether a name is read or bound follows from where it stands.
            continue
        if isinstance(value, list):
            value = _effective(value)
            if not value:
                continue
        parts.append(field)
        _append(value, parts, imports)
    parts.append(")")


def _append(value: object, parts: list[str], imports: list[_Import]) -> None:
    if isinstance(value, ast.AST):
        _walk(value, parts, imports)
    elif isinstance(value, list):
        parts.append("[")
        for item in value:
            _append(item, parts, imports)
        parts.append("]")
    else:
        parts.append(f"{type(value).__name__} {value!r}")


def _effective(values: list) -> list:
    """`values` without statements that do nothing, and with `if TYPE_CHECKING:` as its else."""
    kept: list = []
    for value in values:
        if isinstance(value, ast.Pass):
            continue
        if (
            isinstance(value, ast.Expr)
            and isinstance(value.value, ast.Constant)
            and isinstance(value.value.value, str)
        ):
            continue
        if isinstance(value, ast.If) and _is_type_checking(value.test):
            kept += _effective(value.orelse)
            continue
        kept.append(value)
    return kept


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


def _data_files(folder: Path) -> list[Path]:
    """Files of the package in `folder` that are not Python, those of packages below left out."""
    found: list[Path] = []
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.startswith((".", "__pycache__")):
            continue
        if entry.is_dir():
            if not os.path.exists(os.path.join(entry.path, "__init__.py")):
                found += _data_files(Path(entry.path))
        elif not entry.name.endswith((".py", *IGNORED_SUFFIXES)) and entry.name not in IGNORED_DATA:
            found.append(Path(entry.path))
    return found


def _digest_of_bytes(path: Path) -> str:
    stamp = _stamp(path)
    known = _bytes.get(path)
    if known is None or known[0] != stamp:
        known = (stamp, hashlib.sha256(path.read_bytes()).hexdigest()[:DIGITS])
        _bytes[path] = known
    return known[1]
