"""Run the TensorRT engine: rows in through the prompt table, hidden states out as context logits, vectors from those.

    python run_engine.py --selftest           after build_engine.sh; with tp > 1: mpirun -n TP python run_engine.py --selftest
TensorRT-LLM took its TensorRT engines out after 1.2.1. Later releases run the export made by `harken export --to trtllm`.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from check_version import check_version
from embed_head import EmbedHead
from golden_check import items, report

FOLDER = Path(__file__).resolve().parent


class EngineEmbedder:
    """An engine that was built by build_engine.sh, and the head that follows it."""

    def __init__(self, engine_dir: Path = FOLDER / "engine") -> None:
        from tensorrt_llm.runtime import ModelRunnerCpp

        config = json.loads((FOLDER / "engine_ckpt" / "config.json").read_text())
        self._width, self._dtype = config["hidden_size"], getattr(torch, config["dtype"])
        self._head = EmbedHead(FOLDER)
        self._runner = ModelRunnerCpp.from_dir(engine_dir=str(engine_dir), rank=rank())

    def hidden(self, inputs: "list[torch.Tensor]") -> "list[torch.Tensor]":
        """Hidden states [T, H] after the final norm of each request's rows [T, H]; nothing on ranks other than the first."""
        longest = max(len(rows) for rows in inputs)
        table = torch.zeros(len(inputs), longest, self._width, dtype=self._dtype)
        for i, rows in enumerate(inputs):
            table[i, : len(rows)] = rows.to(self._dtype)
        # Ids past the vocabulary stand for the rows of the request's own table.
        ids = [torch.arange(self._width, self._width + len(rows), dtype=torch.int32) for rows in inputs]
        out = self._runner.generate(
            batch_input_ids=ids,
            prompt_table=table,
            prompt_tasks=",".join(str(i) for i in range(len(inputs))),
            max_new_tokens=1,
            end_id=0,
            pad_id=0,
            return_dict=True,
        )
        if rank():
            return []
        return [out["context_logits"][i][: len(rows)].float().cpu() for i, rows in enumerate(inputs)]

    def vectors(
        self, inputs: "list[torch.Tensor]", kinds: "list[str]", contents: "list[tuple[int, int]]"
    ) -> torch.Tensor:
        """[B, d] vectors of rows that are each a "text" or an "audio"; [0] on ranks other than the first."""
        states = self.hidden(inputs)
        if not states:
            return torch.empty(0)
        both = self._head(torch.cat(states), [len(rows) for rows in states], contents)
        return torch.cat([self._head.of_kind(both[i : i + 1], kind) for i, kind in enumerate(kinds)])


def rank() -> int:
    """This process's rank under mpirun."""
    from tensorrt_llm import mpi_rank

    return mpi_rank()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--selftest", action="store_true", required=True)
    parser.add_argument("--engine-dir", type=Path, default=FOLDER / "engine")
    args = parser.parse_args()
    check_version()
    known = items()
    vectors = EngineEmbedder(args.engine_dir).vectors(
        [item["inputs"] for item in known], [item["kind"] for item in known], [item["content"] for item in known]
    )
    if rank():
        return
    sys.exit(0 if report({item["name"]: vector for item, vector in zip(known, vectors)}) else 1)


if __name__ == "__main__":
    main()
