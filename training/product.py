"""The product that a reranker adds to the answers of its joint layers (engine/rerank/product.py), made beside its adapter.

    a = unit(A [mean(S x); deviation(S x)] + b),  t = unit(T [mean(y); y_last] + c)
    log-odds of Yes = gain (h . w_yes - h . w_no) + scale (a . t) + offset

S whitens the training sounds' audio tokens. A, b, T and c are learnt by symmetric InfoNCE from what the frozen layers give.
Gain, scale and offset come from validation by logistic regression, right pairs and wrong ones equally heavy, among the first
candidates that the product gives to each sound and text.

    python -m harken.training.product RERANK.json

takes two minutes for harken-mini, and writes OUT/adapter/product.safetensors.

Source: own.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from ..engine.cli.output import progress_bar, run_module
from ..engine.rerank.product import FILE, told_of_sound, told_of_text
from ..errors import InputError
from .config import TrainSettings, load_settings
from .data import Row
from .draw import texts_of
from .evaluate import different_captions, relevance
from .evaluate_rerank import first_of_both
from .metrics import first_ranks
from .models.heads import Standardised, Whitened
from .models.joint_layers import Heard
from .models.two_sided import Told, TwoSided, learn
from .stages.build import autocast, open_features
from .stages.joint_rerank import JointRerankTask, build

STEPS, DIM, DROPOUT, TAU = 600, 512, 0.2, 0.07
# Rows of S, and principal axes of what is told of a text.
SOUND_AXES, TEXT_AXES = 512, 768
# Audio tokens that the whitening is found from, at most, and sounds of a pass through the projector or the joint layers.
MAX_TOKENS, SOUNDS = 1 << 17, 16
# Candidates of each sound and text that the odds are fitted on.
TOP = 50

Listen = Callable[[Sequence[Row]], list[torch.Tensor]]


def make(settings: TrainSettings, adapter: Path) -> dict[str, float]:
    """Write the product beside an adapter.

    Args:
        settings: of the `joint-rerank` run that made the adapter.
        adapter: its folder.

    Returns: recall@1 of validation's sounds and texts together, by the joint layers, by the product and by both.
    """
    task = build(settings)
    task.model.load(adapter)
    task.model.eval()
    torch.manual_seed(settings.seed)
    listen = _listener(task, settings)
    spread_KW = _spread(task.train, listen)
    told = Told(task.train, _described(task.train, listen, spread_KW), *_read(task, task.train))
    sides = Standardised(told.sounds_NF), Whitened(told.texts_MG, TEXT_AXES)
    layers = nn.Linear(told.sounds_NF.shape[1], DIM), nn.Linear(len(sides[1].axes), DIM)
    model = TwoSided(*(nn.Sequential(side, nn.Dropout(DROPOUT), layer) for side, layer in zip(sides, layers)))
    with progress_bar("product", STEPS) as advance:
        rows, kinds = range(len(task.train)), settings.batch.kinds
        learn(model, told, rows, TAU, kinds, seed=settings.seed, purpose=0, steps=STEPS, advance=advance)
    tensors = {"spread": spread_KW} | _as_one("sound", sides[0], layers[0]) | _as_one("text", sides[1], layers[1])

    captions = different_captions(task.val)
    place, texts_MG = _read(task, task.val)
    with torch.no_grad():
        sounds, texts = model(
            _described(task.val, listen, spread_KW), texts_MG[[place[caption] for caption in captions]]
        )
    cosine_MN, joint_MN = (texts @ sounds.T).numpy(), _joint_odds(task, captions)
    right_MN = relevance(task.val, captions)[0]
    near = first_of_both(cosine_MN, TOP)
    gain, scale, offset = fit_odds(np.stack([joint_MN[near], cosine_MN[near]], 1), right_MN[near])
    tensors["odds"] = torch.tensor([gain, scale, offset])
    save_file(tensors, adapter / FILE)
    both = gain * joint_MN + scale * cosine_MN
    return {name: _recall(x, right_MN) for name, x in (("joint", joint_MN), ("product", cosine_MN), ("both", both))}


def fit_odds(terms_PX: np.ndarray, right_P: np.ndarray) -> list[float]:
    """Weights of the X terms and an offset, by logistic regression of pairs; right and wrong ones weigh the same together.

    Raises:
        InputError: all pairs are right, or none is.
    """
    if right_P.all() or not right_P.any():
        raise InputError(
            f"{int(right_P.sum())} of {len(right_P)} validation pairs are right; wanted some of both kinds"
        )
    terms, right = torch.from_numpy(terms_PX).double(), torch.from_numpy(right_P).double()
    weight = right / right.mean() + (1 - right) / (1 - right).mean()
    found = torch.zeros(terms.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([found], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        # The last term keeps the weights finite where the pairs can be told apart without a mistake.
        value = F.binary_cross_entropy_with_logits(terms @ found[:-1] + found[-1], right, weight=weight)
        value = value + 1e-6 * found.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return found.tolist()


def _listener(task: JointRerankTask, settings: TrainSettings) -> Listen:
    """Rows to the audio tokens [n, W] float32 of their sounds."""
    backbone = task.model.backbone
    features = open_features(settings, backbone, task.train, task.val)

    @torch.no_grad()
    def listen(rows: Sequence[Row]) -> list[torch.Tensor]:
        heard = features.of(rows)
        tokens = backbone.audio_rows(heard).float().cpu()
        return list(tokens.split([backbone.num_tokens(one) for one in heard]))

    return listen


def _spread(rows: Sequence[Row], listen: Listen) -> torch.Tensor:
    """[K, W] float16 what whitens the audio tokens of rows in drawn order, until there are MAX_TOKENS."""
    kept, num = [], 0
    for place in torch.randperm(len(rows)).tolist():
        kept += listen([rows[place]])
        num += len(kept[-1])
        if num >= MAX_TOKENS:
            break
    return Whitened(torch.cat(kept), SOUND_AXES).axes.half()


def _described(rows: Sequence[Row], listen: Listen, spread_KW: torch.Tensor) -> torch.Tensor:
    """[N, 2 K] mean and deviation of each sound's spread tokens."""
    told = []
    for start in range(0, len(rows), SOUNDS):
        told += [told_of_sound(tokens @ spread_KW.float().T) for tokens in listen(rows[start : start + SOUNDS])]
    return torch.stack(told)


def _read(task: JointRerankTask, rows: Sequence[Row]) -> tuple[dict[str, int], torch.Tensor]:
    """The place of every text of the rows, and [M, 2 W] mean and last of its states."""
    texts = dict.fromkeys(text for row in rows for of_kind in texts_of(row).values() for text in of_kind)
    told = torch.stack([told_of_text(torch.from_numpy(np.array(task.texts[text], np.float32))) for text in texts])
    return {text: i for i, text in enumerate(texts)}, told


@torch.no_grad()
def _as_one(name: str, side: Standardised | Whitened, layer: nn.Linear) -> dict[str, torch.Tensor]:
    """A side as one layer: weight in float16, and the bias that is right at the mean for the rounded weight."""
    weight = side.into(layer.weight).half()
    return {f"{name}.weight": weight, f"{name}.bias": layer.bias - weight.float() @ side.mean}


@torch.no_grad()
def _joint_odds(task: JointRerankTask, captions: Sequence[str]) -> np.ndarray:
    """[M, N] log-odds of the joint layers for every caption and sound of validation."""
    found = np.zeros((len(captions), len(task.val)), np.float32)
    texts = [task.texts[caption] for caption in captions]
    order = sorted(range(len(task.val)), key=lambda i: len(task.sounds[task.val[i].id]))
    with progress_bar("joint layers", len(order)) as advance, autocast(task.settings, task.model.backbone.device):
        for start in range(0, len(order), SOUNDS):
            some = order[start : start + SOUNDS]
            heard = [Heard.whole(task.sounds[task.val[i].id]) for i in some]
            found[:, some] = task.odds(heard, texts).float().cpu().numpy().T
            advance(len(some))
    return found


def _recall(scores_MN: np.ndarray, right_MN: np.ndarray) -> float:
    ranks = [first_ranks(scores_MN, right_MN), first_ranks(scores_MN.T, right_MN.T)]
    return float(np.mean(np.concatenate(ranks) <= 1))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harken.training.product", description=__doc__.split("\n")[0])
    parser.add_argument("settings", type=Path, help="settings of a joint-rerank run that has ended")
    parser.add_argument("--adapter", type=Path, help="adapter folder; default: that of the run")
    args = parser.parse_args(argv)
    settings = load_settings(args.settings)
    found = make(settings, args.adapter or Path(settings.out) / "adapter")
    print("recall@1 of validation, both ways: " + ", ".join(f"{name} {100 * x:.1f} %" for name, x in found.items()))
    return 0


if __name__ == "__main__":
    run_module(main)
