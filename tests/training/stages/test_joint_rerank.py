"""The stage that asks every text of every sound: what it keeps and learns from, one process and two, what is served."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

import harken
from harken.errors import InputError, ModelError
from harken.training import teacher
from harken.training.loop import Loop
from harken.training.losses import distilled_ranking, in_batch_rerank
from harken.training.models.joint_layers import Heard
from harken.training.stages import make_task
from harken.training.stages.joint_rerank import top1

from ..runs import joint_settings, losses, write_joint_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("joint")
    write_joint_run(folder, product=False)
    return folder


def test_a_run_learns_its_batch_and_is_served(folder, tmp_path):
    wanted = joint_settings(folder, tmp_path, optim=dict(num_steps=60, lr=0.02, warmup_steps=2))
    loop = Loop(make_task(wanted), wanted)
    loop.go()
    told = losses(tmp_path)
    assert np.mean([told[i] for i in range(51, 61)]) < 0.8 * np.mean([told[i] for i in range(1, 11)])
    served = harken.load_reranker(
        folder / "model", adapter=tmp_path / "adapter", recipe=wanted.recipe, dtype="float32", device="cpu"
    )
    loop.task.model.load(tmp_path / "adapter")
    rows = loop.task.val
    heard = [Heard.whole(loop.task.sounds[row.id]) for row in rows]
    with torch.no_grad():
        logits = loop.task.model.eval()(heard, [loop.task.texts[row.captions[0]] for row in rows])
    ours = logits.softmax(-1)[..., 0].flatten().numpy()
    asked = [(row.audio, r.captions[0]) for row in rows for r in rows]
    # States are kept in float16.
    np.testing.assert_allclose(served.predict(asked, direction="a2t"), ours, atol=2e-3)


def test_states_are_kept_and_found_again(folder, tmp_path, monkeypatch):
    wanted = joint_settings(folder, tmp_path, data=dict(states=str(tmp_path / "kept")))
    first = make_task(wanted)
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"sounds", "texts"}
    monkeypatch.setattr("harken.training.models.joint_reranker.JointReranker._states", None)
    with pytest.raises(InputError, match="sounds: holds states of .* with None, wanted .* with .*adapter"):
        first.save(tmp_path / "adapter")
        make_task(replace(wanted, merged=str(tmp_path / "adapter")))
    again = make_task(wanted)
    ours, theirs = first._draw(0), again._draw(0)
    assert ours.teacher_BB is None and ours.fits_BB.shape == (4, 4) and ours.fits_BB.diagonal().all()
    assert len(ours.texts) == len(ours.sounds) == 4
    for heard, other in zip(ours.sounds, theirs.sounds):
        assert len(heard.states_LW) == 4
        np.testing.assert_array_equal(heard.states_LW, other.states_LW)


def test_a_teacher_and_near_rows_are_learnt_from(folder, tmp_path):
    plain = joint_settings(folder, tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(replace(plain, recipe="harken-mini", stage="audio-text").to_dict()))
    told = ["--data", str(folder / "sounds"), "--out", str(tmp_path / "teacher.npz")]
    assert teacher.main([str(tmp_path / "run.json"), *told]) == 0
    near = [dict(id=str(i), texts=[], sounds=[str((i + j) % 10) for j in (1, 2, 3)]) for i in range(10)]
    (tmp_path / "near.jsonl").write_text("".join(json.dumps(line) + "\n" for line in near))
    data = replace(plain.data, teacher=str(tmp_path / "teacher.npz"), negatives=str(tmp_path / "near.jsonl"))
    wanted = replace(
        plain,
        data=data,
        batch=replace(plain.batch, near=1.0),
        loss=replace(plain.loss, distilled=2.0),
        out=str(tmp_path),
    )
    task = make_task(wanted)
    for step in range(3):
        first, *others = [int(row.id) for row in task._rows(step)]
        assert sorted((i - first) % 10 for i in others) == [1, 2, 3]
    batch = task._draw(0)
    with torch.no_grad():
        odds = task.odds(batch.sounds, batch.texts)
    whole = in_batch_rerank(odds, batch.fits_BB, 1.0) + 2 * distilled_ranking(odds, batch.teacher_BB)
    assert task.backward(0)["loss"] == pytest.approx(float(whole), rel=1e-5)
    with pytest.raises(InputError, match="batch.near wants data.negatives"):
        make_task(replace(wanted, data=replace(data, negatives=None)))
    with pytest.raises(InputError, match="data.teacher is None and loss.distilled 2.0; wanted both or neither"):
        make_task(replace(wanted, data=replace(data, teacher=None)))
    for batch, said in ((dict(mask_probability=0.5), "mask_probability is 0.5"), (dict(max_rows=1), "max_rows is 1")):
        with pytest.raises(InputError, match=said):
            make_task(replace(wanted, batch=replace(wanted.batch, **batch)))


def _half(rank: int, folder: str, out: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out}/meet", rank=rank, world_size=2)
    task = make_task(joint_settings(Path(folder), Path(out) / "run"))
    told = task.backward(0)
    grads = {name: p.grad for name, p in task.lora_parameters.items()}
    torch.save((told, grads), f"{out}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_make_the_gradient_of_one(folder, tmp_path):
    task = make_task(joint_settings(folder, tmp_path / "run"))
    told = task.backward(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[3]))
        multiprocessing.start_processes(_half, (str(folder), str(tmp_path)), nprocs=2, start_method="spawn")
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for name, parameter in task.lora_parameters.items():
        torch.testing.assert_close(sum(grads[name] for _, grads in halves), parameter.grad, rtol=1e-4, atol=1e-7)
    assert halves[0][0]["loss"] == pytest.approx(told["loss"], rel=1e-5)


def test_the_highest_of_row_and_column_count_where_nothing_else_fits():
    odds = torch.tensor([[1.0, 2.0, 0.0], [0.0, 3.0, 1.0], [0.0, 0.0, 2.0]])
    fits = torch.eye(3, dtype=torch.bool)
    assert top1(odds, fits) == pytest.approx(5 / 6)
    fits[0, 1] = True
    assert top1(odds, fits) == 1


def test_what_would_change_the_kept_states_is_refused(folder, tmp_path):
    wanted = joint_settings(folder, tmp_path)
    with pytest.raises(ModelError, match="lora.from_layer is 0"):
        make_task(replace(wanted, lora=replace(wanted.lora, from_layer=0)))
    with pytest.raises(ModelError, match="the stage 'joint-rerank' trains it"):
        make_task(replace(wanted, stage="rerank", data=replace(wanted.data, negatives="none.jsonl")))
