"""Whatever is typed, or lies in a folder of YAML or of results: one line, no traceback, and soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import run_many

FILES = {
    "broken": "_target_: torch.optim.SGD\n  name: [",
    "tabs": "_target_: torch.optim.SGD\n\tname: x",
    "binary": "\x00\x01\x02",
    "list": "- 1\n- 2\n",
    "text": "just words",
    "number": "7",
    "twice": "_target_: torch.optim.SGD\n_target_: torch.optim.Adam\nname: x\n",
    "bomb": "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)),
    "deep": "x: " + "[" * 3000 + "]" * 3000,
    "huge": "name: " + "x" * 3_000_000,
    "python": "name: !!python/object/apply:os.system ['true']\n",
    "missing": "name: x\nlr: auto\nsearch:\n  lr: {default: 0.1, low: 0.01, high: 1.0, source: here}\n",
    "unsearched": "_target_: torch.optim.SGD\nname: x\nlr: auto\n",
    "circular": "defaults: [circular]\nname: x\n",
    "absent": "defaults: [no_such_file]\nname: x\n",
    "resolver": "_target_: ${no_such:x}\nname: x\n",
    "loop": "_target_: torch.optim.SGD\nname: ${optimizer.name}\nlr: auto\n",
    "interpolated": "_target_: torch.optim.SGD\nname: ${nowhere.to.be.found}\nlr: auto\n",
    "unfinished": "_target_: torch.optim.SGD\nname: '${'\nlr: auto\n",
    "reversed": "_target_: torch.optim.SGD\nname: x\nlr: auto\nsearch:\n"
    "  lr: {default: 0.1, low: 1.0, high: 0.01, source: here}\n",
    "nan": "_target_: torch.optim.SGD\nname: x\nlr: .nan\nsearch:\n"
    "  lr: {default: 0.1, low: 0.01, high: 1.0, source: here}\n",
}
TYPED = [
    ("optimizer.lrr=1",), ("optimizer=adamm",), ("optimizer=",), ("optimizer.lr=",), ("optimizer.lr=fast",),
    ("optimizer.lr=nan",), ("optimizer.lr=-inf",), ("optimizer.lr=1e999",), ("optimizer.lr=true",),
    ("optimizer.lr=[1,2]",), ("optimizer.lr={a:1}",), ("optimizer.lr=null",), ("optimizer.lr=[1",),
    ("optimizer=[adam,sgd]",), ("optimizer=1.5",), ("model=nan",), ("model={a:1}",), ("model=null",),
    ("workload=nope",), ("workload=[photo_mlp]",), ("suite=nope",), ("data=nope",), ("budget=nope",),
    ("budget.steps=0",), ("budget.steps=1e30",), ("budget.steps=many",), ("seeds=0",), ("seeds=-1",),
    ("seeds=[1,2]",), ("seeds.num=one",), ("horizons=0",), ("horizons=[]",), ("horizons=[a]",),
    ("threads=0",), ("device=tpu",), ("retry=everything",), ("do=nothing",), ("place.results=",),
    ("place.workers=0",), ("place.timeout_s=0",), ("place.devices=[-1]",), ("place.per_device=0",),
    ("place.devices=some",), ("ema=2",), ("clip_norm=-1",), ("+nothing=1",), ("~optimizer",), ("=",),
    ("optimizer.groups.vectors.lrr=0",), ("optimizer.lr=interval(1,0)",), ("search.space.optimizer.lr=[]",),
    ("optimizer=custom", "optimizer._target_=os.system", "optimizer.name=x"),
    ("optimizer=custom", "optimizer._target_=torch.nn.Linear", "optimizer.name=x"),
    ("optimizer=custom", "optimizer._target_=no.such.thing", "optimizer.name=x"),
    ("model._target_=builtins.dict",), ("data._target_=builtins.eval",),
    ("--no-such-flag",), ("--config-dir", "no/such/folder"), ("-m", "optimizer=adam,adamm"), ("\x1b[31m=1",),
    ("optimizer.lr=${oc.env:HOME}",), ("optimizer.lr=${nowhere}",),
]  # fmt: skip


def check(commands: list[tuple[str, ...]], cwd: Path) -> None:
    wrong = []
    for command, done in zip(commands, run_many(commands, cwd=cwd), strict=True):
        is_one_line = done.stderr.startswith("bench: ") and done.stderr.count("\n") == 1
        is_plain = "Traceback" not in done.stderr and "\x1b" not in done.stderr and len(done.stderr) < 1000
        if done.returncode != 2 or not is_one_line or not is_plain or done.stdout or done.seconds > 1.0:
            wrong.append(
                (command, done.returncode, round(done.seconds, 2), done.stderr[-600:], done.stdout[-80:])
            )
    assert not wrong, "\n\n".join(map(str, wrong))
    assert not list(cwd.rglob("result.json"))


@pytest.mark.slow
def test_a_malformed_command_is_one_line(tmp_path: Path) -> None:
    assert len(TYPED) + len(FILES) >= 60
    check(TYPED, tmp_path)


def test_a_malformed_yaml_is_one_line(tmp_path: Path) -> None:
    for name, content in FILES.items():
        folder = tmp_path / name / "optimizer"
        folder.mkdir(parents=True)
        (folder / f"{name}.yaml").write_text(content)
    (tmp_path / "folder" / "optimizer" / "folder.yaml").mkdir(parents=True)
    latin = tmp_path / "latin" / "optimizer"
    latin.mkdir(parents=True)
    (latin / "latin.yaml").write_bytes(b"name: \xff\xfe\n")
    members = [*FILES, "folder", "latin"]
    check([("--config-dir", name, f"optimizer={name}") for name in members], tmp_path)
