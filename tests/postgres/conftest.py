"""A PostgreSQL server of the tests' own: on loopback, with a password, gone when they end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

PASSWORD = "s3cret @/:word"


class Server(NamedTuple):
    """Where it listens."""

    port: int

    def url(self, database: str = "postgres", password: str = PASSWORD) -> str:
        return f"postgresql+psycopg://bench:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    binaries = _binaries()
    # Not in pytest's folder: the server runs as another user, who may not enter it.
    folder = Path(tempfile.mkdtemp(prefix="bench-postgres-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
            shutil.chown(folder / "password", "postgres")
        data, log = folder / "data", folder / "log"
        _run(
            binaries / "initdb", "-D", data, "-U", "bench", "--pwfile", folder / "password",
            "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8",
        )  # fmt: skip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off"
        _run(binaries / "pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start")
        try:
            yield Server(port)
        finally:
            _run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def database(server: Server, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database: its tables are yet to be made."""
    import psycopg

    name = f"db{abs(hash(request.node.nodeid)) % 10**12}"
    with psycopg.connect(
        host="127.0.0.1",
        port=server.port,
        user="bench",
        password=PASSWORD,
        dbname="postgres",
        autocommit=True,
    ) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    return server.url(name)


def _binaries() -> Path:
    # Debian keeps them out of PATH, one folder a version.
    found = [
        *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        *map(Path, filter(None, [shutil.which("initdb")])),
    ]
    if not found:
        pytest.fail("no initdb: install PostgreSQL's server (apt-get install postgresql)")
    return found[0].parent


def _run(*command: str | Path) -> None:
    # initdb and the server refuse to run as root.
    prefix = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
    subprocess.run([*prefix, *map(str, command)], cwd="/", check=True, stdout=subprocess.DEVNULL, timeout=60)
