"""The scheduler by itself: every pair once, within its budget, in order, prefixes held no longer than needed."""

import random

import pytest

from harken.engine.rerank.scheduler import Job, Scheduler
from harken.errors import InputError


def jobs(prefix, num_prefix_tokens, suffixes, priority=0):
    return [Job(prefix, num_prefix_tokens, n, priority) for n in suffixes]


class Schedule:
    """Random additions, cancellations and steps, every promise checked at each step."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.max_tokens, self.max_held = self.random.choice([5, 40, 200]), self.random.choice([0, 30, 1000])
        self.scheduler = Scheduler(self.max_tokens, self.max_held)
        self.waiting, self.ran, self.held = [], set(), {}
        self.prefix_tokens = [self.random.randint(1, 60) for _ in range(8)]

    def add(self):
        new = []
        for _ in range(self.random.randint(0, 12)):
            prefix = self.random.randrange(len(self.prefix_tokens))
            suffix, priority = self.random.randint(1, 30), self.random.choice([0, 0, 0, 1, -2])
            new.append(Job(prefix, self.prefix_tokens[prefix], suffix, priority))
        self.scheduler.add(new)
        self.waiting += new

    def cancel(self):
        chosen = self.random.sample(self.waiting, min(len(self.waiting), self.random.randint(0, 4)))
        told = chosen + self.random.sample(sorted(self.ran, key=id), min(len(self.ran), 2))
        assert self.scheduler.cancel(told) == sum(job.num_tokens for job in chosen)
        self.waiting = [job for job in self.waiting if job not in chosen]

    def step(self):
        step = self.scheduler.next_step()
        taken = [job for share in step for job in share.jobs]
        assert bool(taken) == bool(self.waiting)
        assert len(set(taken)) == len(taken) and set(taken) <= set(self.waiting)
        assert sum(share.num_tokens for share in step) <= self.max_tokens or len(taken) == 1
        urgency = [job.priority for job in taken]
        assert urgency == sorted(urgency, reverse=True)
        left = [job for job in self.waiting if job not in set(taken)]
        assert not taken or not left or min(urgency) >= max(job.priority for job in left)
        here = set()
        for share in step:
            assert all(job.prefix == share.prefix for job in share.jobs)
            computed = share.num_new_prefix_tokens
            assert computed == (
                0 if share.prefix in self.held or share.prefix in here else share.jobs[0].num_prefix_tokens
            )
            here.add(share.prefix)
        self.ran |= set(taken)
        self.waiting = left
        self.held = set(self.scheduler.held)
        needed = {job.prefix for job in left}
        assert self.held <= needed and here & needed <= self.held
        assert sum(self.prefix_tokens[p] for p in self.held - here) <= self.max_held
        assert len(self.scheduler) == len(left)

    def run(self):
        for _ in range(self.random.randint(1, 25)):
            self.random.choice([self.add, self.add, self.cancel, self.step, self.step])()
            self.held = set(self.scheduler.held)
        while self.waiting:
            self.step()
        self.step()
        assert not self.scheduler.held and not len(self.scheduler)


def test_a_thousand_random_schedules():
    for seed in range(1000):
        Schedule(seed).run()


def test_a_group_computes_its_prefix_once_though_it_takes_many_steps():
    scheduler = Scheduler(100, 100)
    scheduler.add(jobs("query", 60, [20] * 10))
    steps = []
    while step := scheduler.next_step():
        steps.append([(share.num_new_prefix_tokens, len(share.jobs)) for share in step])
    assert steps == [[(60, 2)], [(0, 5)], [(0, 3)]]


def test_pairs_of_one_prefix_run_together_however_they_are_mixed():
    scheduler = Scheduler(1000, 0)
    mixed = [job for three in zip(*(jobs(p, 10, [1] * 5) for p in "abc")) for job in three]
    scheduler.add(mixed)
    assert [(share.prefix, len(share.jobs), share.num_new_prefix_tokens) for share in scheduler.next_step()] == [
        ("a", 5, 10),
        ("b", 5, 10),
        ("c", 5, 10),
    ]


def test_an_urgent_group_comes_between_and_the_first_one_goes_on():
    scheduler = Scheduler(30, 100)
    scheduler.add(jobs("slow", 10, [10] * 4))
    assert [share.prefix for share in scheduler.next_step()] == ["slow"]
    scheduler.add(jobs("urgent", 10, [10], priority=5))
    urgent, slow = scheduler.next_step()
    assert (urgent.prefix, urgent.num_new_prefix_tokens) == ("urgent", 10)
    assert (slow.prefix, slow.num_new_prefix_tokens) == ("slow", 0)


def test_groups_of_one_priority_run_in_the_order_in_which_they_came():
    scheduler = Scheduler(2, 0)
    for prefix in "cab":
        scheduler.add(jobs(prefix, 1, [1]))
    assert [share.prefix for _ in range(3) for share in scheduler.next_step()] == ["c", "a", "b"]


def test_where_too_much_is_held_what_runs_last_is_dropped():
    scheduler = Scheduler(20, 10)
    for priority, prefix in enumerate(("first", "second", "third")):
        scheduler.add(jobs(prefix, 10, [10, 10], priority))
        assert [share.prefix for share in scheduler.next_step()] == [prefix]
    assert scheduler.held == {"second", "third"}
    computed = [(share.prefix, share.num_new_prefix_tokens) for _ in range(3) for share in scheduler.next_step()]
    assert computed == [("third", 0), ("second", 0), ("first", 10)]


def test_a_kept_prefix_costs_nothing():
    scheduler = Scheduler(30, 100)
    scheduler.add(jobs("kept", 25, [10, 10, 10]))
    (share,) = scheduler.next_step(lambda prefix: prefix == "kept")
    assert share.num_new_prefix_tokens == 0 and len(share.jobs) == 3


def test_bounds_that_leave_no_room_are_refused():
    with pytest.raises(InputError, match="max_tokens >= 1"):
        Scheduler(0, 0)
    with pytest.raises(InputError, match="max_held_tokens >= 0"):
        Scheduler(1, -1)
