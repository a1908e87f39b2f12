"""What code an import path stands for, without importing it: edit your optimizer and its runs train again."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

# torch answers for itself by its version beside every result, bench by NUMERICS in every id.
_VOUCHED = frozenset({"torch", "bench"})


def digest_sources(targets: Iterable[str]) -> dict[str, str]:
    """Return what each import path stands for, where that may change a run's numbers.

    Args:
        targets: Dotted import paths, as in `_target_`.

    Returns:
        Import path -> "name version" for an installed package, else a hash over the source file and every
        file outside installed packages that it imports. Paths in torch and in bench itself are left out.
    """
    return {
        target: _digest(target) for target in sorted(set(targets)) if target.split(".")[0] not in _VOUCHED
    }


@functools.cache
def _digest(target: str) -> str:
    top = target.split(".")[0]
    root = _find_root(top)
    if root is None:
        return "not found"
    if _is_installed(root):
        return f"{top} {_package_version(top)}"
    files: set[Path] = set()
    _collect(_module_file(root, target.split(".")[1:]), files)
    total = hashlib.sha256()
    for content in sorted(file.read_bytes() for file in files):
        total.update(hashlib.sha256(content).digest())
    return f"sha256:{total.hexdigest()[:32]}"


def _find_root(top: str) -> Path | None:
    """Return the file or folder of a top-level module; finding one imports nothing."""
    if top == "__main__":
        # A class that a script defines for itself; an interactive session has no file.
        script = getattr(sys.modules["__main__"], "__file__", None)
        return Path(script) if script else None
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    if found.submodule_search_locations:
        return Path(next(iter(found.submodule_search_locations)))
    return Path(found.origin) if found.origin and found.origin.endswith(".py") else None


def _is_installed(path: Path) -> bool:
    places = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")}
    return any(path.is_relative_to(place) for place in places)


def _package_version(top: str) -> str:
    names = importlib.metadata.packages_distributions().get(top, [top])
    try:
        return importlib.metadata.version(names[0])
    except importlib.metadata.PackageNotFoundError:
        return f"python{sys.version_info.major}.{sys.version_info.minor}"


def _module_file(root: Path, parts: list[str]) -> Path:
    """Return the file of the deepest module along a dotted path; what follows are its attributes."""
    here = root
    for part in parts:
        if here.is_file():
            break
        if (here / part).is_dir():
            here = here / part
        elif (here / f"{part}.py").is_file():
            here = here / f"{part}.py"
        else:
            break
    return here / "__init__.py" if here.is_dir() else here


def _collect(file: Path, seen: set[Path]) -> None:
    if file in seen or not file.is_file():
        return
    seen.add(file)
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                _follow(alias.name, seen)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                _follow(f"{node.module}.{alias.name}", seen)
        elif isinstance(node, ast.ImportFrom):
            folder = file.parents[node.level - 1]
            for alias in node.names:
                _collect(_module_file(folder, [*(node.module or "").split("."), alias.name]), seen)


def _follow(name: str, seen: set[Path]) -> None:
    top, *rest = name.split(".")
    if top in _VOUCHED or top in sys.stdlib_module_names:
        return
    root = _find_root(top)
    if root is not None and not _is_installed(root):
        _collect(_module_file(root, rest), seen)
