#!/bin/sh
# Every number of training/RESULTS.md about harken-mini, in order. Run it beside a folder `sounds` with manifest.jsonl; a stopped
# call goes on where it was. One thread; settings in training/configs.
set -e
here=$(dirname "$0")
run() { harken train "$here/configs/$1.json"; }
score() { for split in val test; do
  [ -f "runs/$1.$split.json" ] || python -m harken.training.evaluate "$here/configs/$1.json" --data sounds --split $split \
    --json "runs/$1.$split.json" --vectors "runs/$1.$split.npz"; done; }

[ -f sounds/features/clips.json ] || python -m harken.training.features --data sounds

# The ablation: equal steps, same seed. mini-text is the text stage that the rows below it start from.
run mini-baseline;   score mini-baseline
run mini-text
run mini-text-stage; score mini-text-stage
run mini-tags;       score mini-tags
run mini-hybrid;     score mini-hybrid
run mini-last;       score mini-last
run mini-one-head;   score mini-one-head

# The retriever that is committed: decoder and heads, the heads anew, and both once more. Then the reranker that stands on it.
run mini-first
run mini-first-heads
run mini-final
run mini-heads;      score mini-heads
[ -f runs/negatives.jsonl ] || harken mine hard manifest:train=sounds -o runs/negatives.jsonl
[ -f runs/teacher.npz ] || python -m harken.training.teacher "$here/configs/mini-baseline.json" --data sounds \
  --out runs/teacher.npz
run mini-rerank
[ -f runs/mini-rerank/adapter/product.safetensors ] || python -m harken.training.product "$here/configs/mini-rerank.json"
python -m harken.training.evaluate_rerank "$here/configs/mini-rerank.json" --data sounds --out runs/rerank \
  --val runs/mini-heads.val.npz --test runs/mini-heads.test.npz

# What the heads make of it: a table of 14 rows and three seeds, on the same states.
python -m harken.training.ablation "$here/configs/ablation/mini-heads.json" --out runs/ablation

python -m harken.training.baselines "$here/configs/mini-baseline.json" --data sounds --split test --json runs/baselines.json
