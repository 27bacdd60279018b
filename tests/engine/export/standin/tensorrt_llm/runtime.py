"""The engine's runner: the engine folder is the checkpoint that the stand-in of trtllm-build put there."""

import torch
from trtllm_interpreter import Interpreter


class ModelRunnerCpp:
    @classmethod
    def from_dir(cls, engine_dir: str, rank: int) -> "ModelRunnerCpp":
        made = cls()
        made._interpreter, made._rank = Interpreter(engine_dir), rank
        return made

    def generate(
        self, batch_input_ids, prompt_table, prompt_tasks, max_new_tokens, end_id, pad_id, return_dict
    ) -> dict:
        width = self._interpreter.config["vocab_size"]
        tasks = [int(task) for task in prompt_tasks.split(",")]
        assert return_dict and max_new_tokens == 1 and len(tasks) == len(batch_input_ids)
        if self._rank:
            return []
        logits = []
        for ids, task in zip(batch_input_ids, tasks):
            assert ids.dtype == torch.int32 and int(ids.min()) == width
            logits.append(self._interpreter.context_logits(prompt_table[task][ids.long() - width]))
        # As the runner does: one tensor, requests shorter than the longest followed by zeros.
        return {"context_logits": torch.nn.utils.rnn.pad_sequence(logits, batch_first=True)}
