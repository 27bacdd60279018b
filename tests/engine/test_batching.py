"""Token-budget batches: every item once, no budget broken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.engine.batching import plan_batches
from harken.errors import InputError


@given(st.lists(st.integers(1, 500), max_size=200), st.integers(1, 1000))
def test_every_item_once_and_within_the_budget(num_tokens, max_tokens):
    batches = plan_batches(num_tokens, max_tokens)
    assert sorted(i for batch in batches for i in batch) == list(range(len(num_tokens)))
    for batch in batches:
        assert len(batch) == 1 or sum(num_tokens[i] for i in batch) <= max_tokens


def test_longest_first_and_ties_by_position():
    assert plan_batches([1, 5, 3, 5], 8) == [[1], [3, 2], [0]]


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least 1"):
        plan_batches([1], 0)
