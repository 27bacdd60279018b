"""Samples on their way to a device: in order, each batch one ahead of its use, and not two."""

import numpy as np
import torch

from harken.engine.models.transfer import Samples, put, uploaded

CPU = torch.device("cpu")


def test_clips_lie_end_to_end():
    samples = Samples.of([np.arange(3, dtype=np.float32), np.zeros(2, np.float32)], CPU)
    assert samples.cu_samples == (0, 3, 5) and samples.samples_N.tolist() == [0, 1, 2, 0, 0]


def test_batches_come_in_order_and_one_ahead():
    asked = []

    def batches():
        for i in range(4):
            asked.append(i)
            yield [np.full(2, i, np.float32)]

    seen = []
    for samples in uploaded(batches(), CPU):
        seen.append((int(samples.samples_N[0]), max(asked)))
    assert seen == [(0, 1), (1, 2), (2, 3), (3, 3)]
    assert list(uploaded([], CPU)) == []


def test_on_a_cpu_nothing_is_copied():
    rows = np.arange(5)
    assert put(rows, CPU).data_ptr() == rows.ctypes.data
