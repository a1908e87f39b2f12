"""Which rows a step trains on, and how often that is drawn."""

from __future__ import annotations

import weakref

import torch

from bench.data.order import Order

CPU = torch.device("cpu")


def test_one_seed_has_the_same_rows_alone_and_among_others() -> None:
    order = Order(10)
    for step in range(7):
        alone = [order.rows(seed, step, 3, CPU) for seed in (5, 6, 5)]
        assert torch.equal(order.stack_rows((5, 6, 5), step, 3, CPU), torch.stack(alone))


def test_an_epoch_has_each_row_once_and_the_next_one_another_order() -> None:
    order = Order(12)
    first, second = ([order.rows(1, 4 * epoch + step, 3, CPU) for step in range(4)] for epoch in (0, 1))
    assert sorted(torch.cat(first).tolist()) == sorted(torch.cat(second).tolist()) == list(range(12))
    assert not torch.equal(torch.cat(first), torch.cat(second))


def test_groups_of_runs_that_take_turns_draw_once_an_epoch() -> None:
    order = Order(12)
    turns = [order.stack_rows(seeds, step, 3, CPU) for step in range(4) for seeds in ((0, 1), (2, 3))]
    # Views of two memos, not of eight.
    assert len({rows.untyped_storage().data_ptr() for rows in turns}) == 2


def test_groups_that_are_gone_leave_no_orders_behind() -> None:
    order, memos = Order(1000), []
    for step in range(20):
        # Each group lasts two steps, then one of its runs leaves it.
        rows = order.stack_rows(tuple(range(30 - step // 2)), step, 3, CPU)
        memos.append(weakref.ref(rows._base))
        del rows
    # The newest group's, and those of the one before.
    assert sum(memo() is not None for memo in memos) <= 4
