"""The self-test: inputs whose vectors harken knows, from golden.safetensors and manifest.json beside this file."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

FOLDER = Path(__file__).resolve().parent


def items(folder: Path = FOLDER) -> "list[dict]":
    """Name, kind, token ids, rows [T, H] of the decoder's input, content and vector of every golden input."""
    golden = json.loads((folder / "manifest.json").read_text())["golden"]
    tensors = load_file(folder / golden["file"])
    return [
        {
            **item,
            "token_ids": tensors[f"{item['name']}.token_ids"],
            "inputs": tensors[f"{item['name']}.inputs"],
            "vector": tensors[f"{item['name']}.vector"],
        }
        for item in golden["items"]
    ]


def report(named_vectors: "dict[str, torch.Tensor]", folder: Path = FOLDER) -> bool:
    """Print each input's cosine to its golden vector; True if all come near enough."""
    least = json.loads((folder / "manifest.json").read_text())["golden"]["min_cosine"]
    good = True
    for item in items(folder):
        if item["name"] not in named_vectors:
            print(f"{item['name']:10s} not run")
            continue
        cosine = float(F.cosine_similarity(named_vectors[item["name"]].float().cpu(), item["vector"], dim=0))
        fine = cosine >= least
        good = good and fine
        print(f"{item['name']:10s} cosine {cosine:.6f} {'ok' if fine else f'TOO FAR, wanted {least}'}")
    print("self-test passed" if good else "SELF-TEST FAILED")
    return good
