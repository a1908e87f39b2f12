"""Every YAML of conf/ is read strictly, is reachable, and points at code that is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

# Folders of bench/ where a file is an option of the group of the same name.
SEAMS = ("data", "engine", "model", "optimizer")


class StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice, of which it would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        if repeated := {key for key in keys if keys.count(key) > 1}:
            raise yaml.constructor.ConstructorError(None, None, f"written twice: {repeated}", node.start_mark)
        return super().construct_mapping(node, deep=deep)


@pytest.fixture(scope="module")
def configs(root: Path, files: list[Path]) -> dict[Path, dict[str, Any]]:
    found: dict[Path, dict[str, Any]] = {}
    for path in files:
        if path.parts[0] == "conf" and path.suffix in (".yaml", ".yml"):
            loader = StrictLoader((root / path).read_text())
            found[path] = loader.get_single_data() or {}
            assert isinstance(found[path], dict), f"{path}: wants keys and values"
    assert Path("conf/config.yaml") in found
    return found


def test_every_file_is_yaml_hydra_can_find(files: list[Path], configs: dict[Path, dict[str, Any]]) -> None:
    strays = [path for path in files if path.parts[0] == "conf" and path.suffix != ".yaml"]
    assert strays == []
    assert all(re.fullmatch(r"[a-z0-9_]+", path.stem) for path in configs), "an option is typed: a-z, 0-9, _"


def test_every_group_is_chosen_or_documented(root: Path, configs: dict[Path, dict[str, Any]]) -> None:
    chosen = set()
    for entry in configs[Path("conf/config.yaml")]["defaults"]:
        if isinstance(entry, dict):
            chosen |= {key.removeprefix("override ").removeprefix("optional ").strip("/") for key in entry}
    documented = set(re.findall(r"conf/([a-z_]+(?:/[a-z_]+)*)/", (root / "docs" / "design.md").read_text()))
    groups = {path.parent.relative_to("conf").as_posix() for path in configs} - {"."}
    assert groups - chosen - documented == set()


def test_every_default_exists(configs: dict[Path, dict[str, Any]]) -> None:
    missing = []
    for path, config in configs.items():
        for group, option in _defaults(path, config):
            # Hydra's own groups hold options of its own.
            if not group.startswith("hydra/") and Path("conf", group, f"{option}.yaml") not in configs:
                missing.append(f"{path}: {group}={option}")
    assert missing == []


def test_every_path_into_bench_is_there(root: Path, configs: dict[Path, dict[str, Any]]) -> None:
    missing = [
        f"{path}: {target}"
        for path, config in configs.items()
        for target in _texts(config)
        if re.fullmatch(r"bench(\.\w+)+", target) and not _is_defined(root, target)
    ]
    assert missing == []


def test_code_of_a_group_lives_in_its_folder(configs: dict[Path, dict[str, Any]]) -> None:
    strays = [
        f"{path}: {target}"
        for path, config in configs.items()
        if path.parts[1] in SEAMS and (target := str(config.get("_target_", ""))).startswith("bench.")
        if not target.startswith(f"bench.{path.parts[1]}.")
    ]
    assert strays == []


def test_every_file_of_a_seam_is_an_option_or_is_used(
    root: Path, files: list[Path], configs: dict[Path, dict[str, Any]]
) -> None:
    used = {text for config in configs.values() for text in _texts(config)}
    for path in files:
        if path.parts[0] == "bench" and path.suffix == ".py":
            used |= _imports((root / path).read_text())
    idle = []
    for path in files:
        if path.parts[0] != "bench" or len(path.parts) != 3 or path.parts[1] not in SEAMS:
            continue
        if path.suffix != ".py" or path.stem == "__init__":
            continue
        name = ".".join(path.with_suffix("").parts)
        is_option = Path("conf", path.parts[1], f"{path.stem}.yaml") in configs
        if not is_option and not any(one == name or one.startswith(name + ".") for one in used):
            idle.append(path)
    assert idle == []


def _defaults(path: Path, config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (group, option) of a file's defaults list; a bare name is an option of the file's own group."""
    own = path.parent.relative_to("conf").as_posix()
    for entry in config.get("defaults", []):
        if isinstance(entry, str):
            if entry != "_self_":
                group, _, option = entry.rpartition("/")
                yield (group.strip("/") if entry.startswith("/") else f"{own}/{group}".strip("/")), option
            continue
        for key, options in entry.items():
            group = key.removeprefix("override ").removeprefix("optional ").split("@")[0]
            place = group.strip("/") if group.startswith("/") or own == "." else f"{own}/{group}"
            for option in options if isinstance(options, list) else [options]:
                if option is not None:
                    yield place, str(option)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _is_defined(root: Path, target: str) -> bool:
    """Say whether a dotted path is a module, or a name at the top of one; nothing is imported."""
    module, _, name = target.rpartition(".")
    if _module_file(root, target):
        return True
    file = _module_file(root, module)
    if file is None:
        return False
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return True
        if isinstance(node, ast.Assign) and name in {ast.unparse(target) for target in node.targets}:
            return True
    return False


def _module_file(root: Path, dotted: str) -> Path | None:
    base = root.joinpath(*dotted.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


def _imports(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found
