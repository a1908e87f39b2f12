"""The members of a configuration group, found on disk: a new YAML is under contract the moment it exists."""

from __future__ import annotations

from bench.configuration import config_folder


def list_members(group: str) -> list[str]:
    """Return the names of a group's YAML files, sorted."""
    return sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))
