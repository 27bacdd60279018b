"""Which pairs run next: pure bookkeeping, no model, no threads.

Pairs with one prefix and one priority make a group. Groups run by priority, then in the order in which they came; a step
takes pairs from the front until its token budget is full, so at most one group is cut in two unless a more urgent one
comes between. A prefix counts towards the budget once, when its keys and values are made; they are held until no pair that
is waiting needs them, or dropped (and made again later) where interrupted groups hold more than `max_held_tokens`.

Source: own.
"""

from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ...errors import InputError


@dataclass(eq=False, slots=True)
class Job:
    """One pair: which prefix it continues, and by how many tokens of its own."""

    prefix: Hashable
    num_prefix_tokens: int
    num_suffix_tokens: int
    priority: int = 0
    # The caller's own; the scheduler does not look at it.
    payload: Any = None
    waiting: bool = False

    @property
    def num_tokens(self) -> int:
        return self.num_prefix_tokens + self.num_suffix_tokens


@dataclass(frozen=True, slots=True)
class Share:
    """Pairs of one prefix in one step."""

    prefix: Hashable
    jobs: list[Job]
    # Tokens of the prefix that this step must compute; 0: its keys and values are held or kept.
    num_new_prefix_tokens: int

    @property
    def num_tokens(self) -> int:
        return self.num_new_prefix_tokens + sum(job.num_suffix_tokens for job in self.jobs)


@dataclass(order=True, slots=True)
class _Group:
    # The priority, negated. Groups of one rank stay in the order in which they came.
    rank: int
    prefix: Hashable = field(compare=False)
    jobs: deque[Job] = field(default_factory=deque, compare=False)


class Scheduler:
    """The waiting pairs, and the prefixes whose keys and values are held.

    Args:
        max_tokens: tokens a step may compute; a pair that alone needs more has a step of its own.
        max_held_tokens: tokens of prefixes held between steps, not counting those of the step just planned.

    Raises:
        InputError: a bound that leaves no room.
    """

    def __init__(self, max_tokens: int, max_held_tokens: int) -> None:
        if max_tokens < 1 or max_held_tokens < 0:
            raise InputError(f"wanted max_tokens >= 1 and max_held_tokens >= 0, got {max_tokens} and {max_held_tokens}")
        self._max_tokens, self._max_held_tokens = max_tokens, max_held_tokens
        self._groups: list[_Group] = []
        self._by_key: dict[tuple[int, Hashable], _Group] = {}
        self._num_waiting: Counter[Hashable] = Counter()
        self._held: dict[Hashable, int] = {}

    def __len__(self) -> int:
        """Pairs that wait."""
        return self._num_waiting.total()

    @property
    def held(self) -> frozenset[Hashable]:
        """Prefixes that a waiting pair needs and an earlier step computed."""
        return frozenset(self._held)

    def add(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            key = -job.priority, job.prefix
            if key not in self._by_key:
                self._by_key[key] = _Group(-job.priority, job.prefix)
                insort(self._groups, self._by_key[key])
            self._by_key[key].jobs.append(job)
            self._num_waiting[job.prefix] += 1
            job.waiting = True

    def cancel(self, jobs: Iterable[Job]) -> int:
        """Take back pairs that have not run; gives how many tokens no longer wait."""
        num_tokens = 0
        for job in jobs:
            if job.waiting:
                num_tokens += job.num_tokens
                self._leave(job)
        return num_tokens

    def next_step(self, is_kept: Callable[[Hashable], bool] = lambda prefix: False) -> list[Share]:
        """Take the pairs to run now; empty when none waits.

        Args:
            is_kept: whether a prefix's keys and values are at hand though the scheduler does not hold them.
        """
        step: list[Share] = []
        here: dict[Hashable, int] = {}
        room = self._max_tokens
        while self._groups:
            group = self._groups[0]
            at_hand = group.prefix in here or group.prefix in self._held or is_kept(group.prefix)
            taken: list[Job] = []
            new_prefix_tokens = 0
            full = False
            while group.jobs and not full:
                job = group.jobs[0]
                if not job.waiting:
                    group.jobs.popleft()
                    continue
                prefix_tokens = 0 if at_hand or taken else job.num_prefix_tokens
                full = prefix_tokens + job.num_suffix_tokens > room and bool(step or taken)
                if not full:
                    group.jobs.popleft()
                    self._leave(job)
                    taken.append(job)
                    new_prefix_tokens += prefix_tokens
                    room -= prefix_tokens + job.num_suffix_tokens
            if taken:
                step.append(Share(group.prefix, taken, new_prefix_tokens))
                here[group.prefix] = taken[0].num_prefix_tokens
            if full:
                break
            self._groups.pop(0)
            del self._by_key[group.rank, group.prefix]
        self._hold(here)
        return step

    def _leave(self, job: Job) -> None:
        job.waiting = False
        self._num_waiting[job.prefix] -= 1
        if not self._num_waiting[job.prefix]:
            del self._num_waiting[job.prefix]
            self._held.pop(job.prefix, None)

    def _hold(self, here: dict[Hashable, int]) -> None:
        """Hold what this step computes and later ones need; past the bound, drop what will run last."""
        self._held.update((prefix, tokens) for prefix, tokens in here.items() if self._num_waiting[prefix])
        total = sum(tokens for prefix, tokens in self._held.items() if prefix not in here)
        for group in reversed(self._groups):
            if total <= self._max_held_tokens:
                return
            if group.prefix in self._held and group.prefix not in here:
                total -= self._held.pop(group.prefix)
