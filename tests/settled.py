"""Imported last by the warm process: what is the same for every command is there before it is forked."""

from __future__ import annotations

import gc

from tests.composing import compose_studies

# Hydra looks for its plugins once a process.
compose_studies()
# What is there by now, no process forked from here looks through again.
gc.collect()
gc.freeze()
