"""Every Python file says why it exists, stays small, has a telling name and does nothing dangerous."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# A file that outgrows this has two jobs: split it by what a reader looks for.
MAX_LINES = 220
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
# Reading what these write runs code.
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}
UNSAFE_CALLS = {"eval", "exec", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load"}
UNSAFE_CALLS |= {"yaml.full_load", "torch.hub.load", "pd.read_pickle", "pandas.read_pickle"}
UNSAFE_CALLS |= {"pickle.load", "pickle.loads"}
UNSAFE_KEYWORDS = {("shell", True), ("weights_only", False), ("allow_pickle", True)}
# CIFAR is published as pickles; its reader builds arrays and refuses every other name.
ALLOWED = {Path("bench/data/cifar.py"): {"imports pickle"}}


@pytest.fixture(scope="module")
def sources(root: Path, files: list[Path]) -> dict[Path, str]:
    found = {path: (root / path).read_text() for path in files if path.suffix == ".py"}
    assert Path("bench/spec.py") in found
    return found


@pytest.fixture(scope="module")
def trees(sources: dict[Path, str]) -> dict[Path, ast.Module]:
    return {path: ast.parse(text, str(path)) for path, text in sources.items()}


def test_a_module_opens_with_one_sentence(trees: dict[Path, ast.Module]) -> None:
    # An empty __init__.py of the tests only makes a folder importable.
    spoken = {path: tree for path, tree in trees.items() if tree.body or path.parts[0] == "bench"}
    breaches = [f"{path}: {fault}" for path, tree in spoken.items() if (fault := _judge_opening(tree))]
    assert breaches == []


def test_a_file_has_one_job(sources: dict[Path, str]) -> None:
    lengths = {path: text.count("\n") for path, text in sources.items() if path.parts[0] == "bench"}
    assert {path: num for path, num in lengths.items() if num > MAX_LINES} == {}


def test_a_name_says_what_is_inside(sources: dict[Path, str]) -> None:
    vague = [path for path in sources if VAGUE_NAMES & {Path(part).stem for part in path.parts}]
    assert vague == []


def test_reading_never_executes(trees: dict[Path, ast.Module]) -> None:
    ours = {path: tree for path, tree in trees.items() if path.parts[0] == "bench"}
    breaches = {path: faults for path, tree in ours.items() if (faults := set(_find_dangers(tree)))}
    assert breaches == ALLOWED


def test_the_loop_knows_no_optimizer_by_name(files: list[Path], trees: dict[Path, ast.Module]) -> None:
    names = {name.lower() for name in vars(torch.optim) if isinstance(vars(torch.optim)[name], type)}
    names |= {path.stem for path in files if path.parts[:2] == ("conf", "optimizer")}
    names |= {"lion", "muon", "nesterov", "rmsprop", "shampoo", "soap", "sophia"}
    # Words of the language rather than of one optimizer.
    names -= {"optimizer", "custom"}
    assert {"adam", "sgd", "momentum"} <= names

    loop = {path: tree for path, tree in trees.items() if path == Path("bench/loop.py")}
    assert loop, "bench/loop.py is where training happens"
    # Rules for stacks of models are for classes of optimizers, each of which can do without.
    own, rules = ("bench", "engine"), ("bench", "engine", "stacked")
    loop |= {path: tree for path, tree in trees.items() if path.parts[:2] == own and path.parts[:3] != rules}
    breaches = {path: found for path, tree in loop.items() if (found := names & _words_of_code(tree))}
    assert breaches == {}


def _judge_opening(tree: ast.Module) -> str | None:
    opening = (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ").strip()
    if not opening:
        return "no docstring"
    if len(opening) < 20 or opening[-1] not in ".?!":
        return f"not a sentence: {opening!r}"
    if re.search(r"[.?!] +[A-Z]", opening):
        return f"more than one sentence: {opening!r}"
    return None


def _find_dangers(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = {alias.name.split(".")[0] for alias in names}
            case ast.ImportFrom(module=str(module), level=0):
                modules = {module.split(".")[0]}
            case ast.Call(func=func, keywords=keywords):
                modules = set()
                if (name := ast.unparse(func)) in UNSAFE_CALLS:
                    yield f"line {node.lineno}: {name}()"
                given = {one.arg: one.value.value for one in keywords if isinstance(one.value, ast.Constant)}
                for word, value in UNSAFE_KEYWORDS:
                    # `is`: 1 is no True here, and None no False.
                    if given.get(word) is value:
                        yield f"line {node.lineno}: {word}={value}"
                if name == "torch.load" and given.get("weights_only") is not True:
                    yield f"line {node.lineno}: torch.load() without weights_only=True"
            case _:
                continue
        if unsafe := modules & UNSAFE_MODULES:
            yield f"imports {', '.join(sorted(unsafe))}"


def _words_of_code(tree: ast.Module) -> set[str]:
    """Return the words of names and strings, lower case; comments and docstrings may give reasons by name."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bare = ast.parse(ast.unparse(tree))
    for node in ast.walk(bare):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return set(re.findall(r"[a-z0-9]+", ast.unparse(bare).lower()))
