"""A multimodal LLM as an embedder that can be trained: LoRA by peft, perhaps the projector whole, perhaps heads.

    vector = unit(head(pool(decoder(prompt))))      pool: mean over all tokens, over the content, or the last token

The base weights keep their dtype; everything that is trained is in float32.

Source: own; pooling and heads as the engine's recipe says.
Letters: B inputs, L tokens of the longest, W width, D dimensions of the vectors.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ...engine.recipes import Recipe
from ...engine.text.template import Prompt, Template
from ...engine.text.tokenizer import Tokenizer
from ...errors import InputError, ModelError
from .. import lora
from .backbone import Backbone
from .heads import Head
from .prompts import Input, group_by_length, pad_right


class TrainableEmbedder(nn.Module):
    """The model, its LoRA layers and heads.

    Args:
        backbone: the frozen checkpoint.
        recipe: prompts, pooling and the names of the heads.
        settings: of LoRA and heads.
        seed: of everything that is drawn here.
        max_tokens: padded tokens of one pass through the decoder.
    """

    def __init__(
        self,
        backbone: Backbone,
        recipe: Recipe,
        settings: lora.LoraSettings,
        *,
        seed: int = 0,
        max_tokens: int = 2048,
    ) -> None:
        super().__init__()
        if recipe.attention != "causal":
            raise ModelError(f"recipe {recipe.name}: attention is {recipe.attention}; only causal decoders are trained")
        torch.manual_seed(seed)
        self.backbone, self.recipe, self.max_tokens = backbone, recipe, max_tokens
        self.peft = lora.attach(backbone, settings)
        names = dict.fromkeys(name for name in (recipe.audio_head, recipe.text_head) if name)
        self.heads = nn.ModuleDict(
            {name: Head(backbone.width, settings.head_dim, settings.head_dropout) for name in names}
        )
        tokenizer = Tokenizer(backbone.folder)
        self._templates = {
            kind: Template(
                tokenizer,
                template,
                audio_token_id=backbone.audio_token_id,
                max_text_tokens=recipe.max_text_tokens,
                strip_end=recipe.strip_text_end,
            )
            for kind, template in (
                ("audio", recipe.audio_template),
                ("text", recipe.text_template),
                ("both", recipe.audio_text_template),
            )
            if template is not None
        }

    def trainable(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def after_step(self) -> None:
        """To be called when parameters have changed."""
        lora.merge(self)

    def groups(self, inputs: Sequence[Input]) -> list[list[int]]:
        """Numbers of the inputs, in groups that one pass takes."""
        return group_by_length([len(self.prompt(i)) for i in inputs], self.max_tokens)

    def forward(self, inputs: Sequence[Input]) -> torch.Tensor:
        """[B, D] unit vectors."""
        return self.vectors(inputs, self.states(inputs))

    def vectors(self, inputs: Sequence[Input], states_BW: torch.Tensor) -> torch.Tensor:
        """[B, D] unit vectors of pooled states; all inputs with a sound, or none."""
        name = self.recipe.text_head if inputs[0].features is None else self.recipe.audio_head
        return self.heads[name](states_BW) if name else F.normalize(states_BW, dim=-1)

    def states(self, inputs: Sequence[Input]) -> torch.Tensor:
        """[B, W] pooled states, float32."""
        prompts = [self.prompt(i) for i in inputs]
        places: list[int] = []
        parts: list[torch.Tensor] = []
        for group in group_by_length([len(p) for p in prompts], self.max_tokens):
            places += group
            parts.append(self._group([inputs[i] for i in group], [prompts[i] for i in group]))
        order = torch.empty(len(places), dtype=torch.long)
        order[torch.tensor(places)] = torch.arange(len(places))
        return torch.cat(parts)[order.to(parts[0].device)]

    def prompt(self, one: Input) -> Prompt:
        """The tokens of an input.

        Raises:
            InputError: the recipe has no template for it.
        """
        kind = "text" if one.features is None else "audio" if one.text is None else "both"
        if kind not in self._templates:
            raise InputError(f"recipe {self.recipe.name} has no template for {kind} inputs")
        sound, default = one.features is not None, self.recipe.default_text_instruction
        if sound:
            default = self.recipe.default_audio_instruction
        instruction = default if one.instruction is None else one.instruction
        template = self._templates[kind]
        if one.features is None:
            assert one.text is not None
            return template.text(one.text, instruction=instruction)
        return template.audio(self.backbone.num_tokens(one.features), text=one.text or "", instruction=instruction)

    def pooled_span(self, prompt: Prompt) -> tuple[int, int]:
        """First of the prompt's tokens whose mean is its state, and the one after the last."""
        return {
            "mean": (0, len(prompt)),
            "mean-content": prompt.content,
            "last": (len(prompt) - 1, len(prompt)),
        }[self.recipe.pooling]

    def _group(self, inputs: Sequence[Input], prompts: Sequence[Prompt]) -> torch.Tensor:
        ids_BL, is_audio_BL = pad_right(prompts)
        features = [i.features for i in inputs if i.features is not None]
        rows_AW = self.backbone.audio_rows(features) if features else None
        hidden_BLW = self.backbone.hidden(ids_BL, is_audio_BL, rows_AW)
        share_BL = torch.zeros(ids_BL.shape)
        for row, prompt in enumerate(prompts):
            first, last = self.pooled_span(prompt)
            share_BL[row, first:last] = 1 / (last - first)
        return torch.einsum("bl,blw->bw", share_BL.to(hidden_BLW.device), hidden_BLW.float())

    @torch.no_grad()
    def whiten(
        self, sides: Sequence[Sequence[Input]], states_of: Callable[[Sequence[Input]], torch.Tensor] | None = None
    ) -> None:
        """Start the heads from the states of some inputs; a head of both kinds from both.

        Args:
            states_of: gives them; None: the model itself.
        """
        states_of = states_of or self.states
        states: dict[str, list[torch.Tensor]] = {}
        for inputs in sides:
            name = self.recipe.text_head if inputs[0].features is None else self.recipe.audio_head
            if name:
                states.setdefault(name, []).append(states_of(inputs))
        for name, parts in states.items():
            head = self.heads[name]
            assert isinstance(head, Head)
            head.whiten(torch.cat(parts))

    def save(self, folder: str | Path) -> None:
        """Write adapter and heads: `adapter_config.json`, `adapter_model.safetensors`, `heads.safetensors`."""
        lora.save(self.peft, folder, self.recipe.name, dict(self.heads.items()))

    def load(self, folder: str | Path) -> None:
        """Take over a saved adapter and the heads that it has."""
        lora.load(self.peft, folder, dict(self.heads.items()))
        self.after_step()
