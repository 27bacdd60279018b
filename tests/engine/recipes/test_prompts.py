"""Prompt strings of the published systems, letter by letter, and the tokens they make."""

from dataclasses import replace

import pytest
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as HubTokenizer

from harken.engine.recipes import get_recipe, recipes
from harken.engine.text.template import Template
from harken.engine.text.tokenizer import Tokenizer
from harken.errors import ModelError

from ... import tiny

SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
GOLDEN = {
    "oea-qwen3b": (
        SYSTEM + "<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|><|im_end|>\n",
        SYSTEM + "<|im_start|>user\nquery:{text}<|im_end|>\n",
        None,
    ),
    "aurola-3b": (
        SYSTEM + "<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|>\nSummarize above audio in one word: <|im_end|>\n"
        "<|im_start|>assistant\n",
        SYSTEM + "<|im_start|>user\n{text}\nSummarize above sentence in one word: <|im_end|>\n<|im_start|>assistant\n",
        SYSTEM + "<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|>{text}\n"
        "Summarize above audio and sentence in one word: <|im_end|>\n<|im_start|>assistant\n",
    ),
    "lco-embedding-3b": (
        SYSTEM
        + "<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|>\nSummarize the above audio in one word:<|im_end|>\n"
        "<|im_start|>assistant\n",
        SYSTEM + "<|im_start|>user\n{text}\nSummarize the above text in one word:<|im_end|>\n<|im_start|>assistant\n",
        None,
    ),
    "e5-omni-7b": (
        SYSTEM + "<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|><|im_end|>\n<|im_start|>assistant\n<|endoftext|>",
        SYSTEM + "<|im_start|>user\n{instruction}{text}<|im_end|>\n<|im_start|>assistant\n<|endoftext|>",
        SYSTEM
        + "<|im_start|>user\n{text}<|audio_bos|>{audio}<|audio_eos|><|im_end|>\n<|im_start|>assistant\n<|endoftext|>",
    ),
    "omni-embed-nemotron": (
        SYSTEM + "<|im_start|>user\n{instruction}<|audio_bos|>{audio}<|audio_eos|><|im_end|>\n",
        SYSTEM + "<|im_start|>user\n{instruction}{text}<|im_end|>\n",
        None,
    ),
    "qwen2-audio": (
        SYSTEM + "<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|><|im_end|>\n",
        SYSTEM + "<|im_start|>user\n{text}<|im_end|>\n",
        SYSTEM + "<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|>{text}<|im_end|>\n",
    ),
}
SAME_PROMPTS = {
    "oea-qwen7b": "oea-qwen3b", "oea-nemo3b": "oea-qwen3b", "aurola-7b": "aurola-3b", "lco-embedding-7b": "lco-embedding-3b",
    "e5-omni-3b": "e5-omni-7b",
}  # fmt: skip
# Qwen's rule for what a token may hold.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.mark.parametrize("name", [*GOLDEN, *SAME_PROMPTS])
def test_prompts_are_the_published_ones(name):
    recipe = get_recipe(name)
    assert (recipe.audio_template, recipe.text_template, recipe.audio_text_template) == GOLDEN[
        SAME_PROMPTS.get(name, name)
    ]


@pytest.mark.parametrize(("name", "other"), SAME_PROMPTS.items())
def test_sizes_of_a_system_differ_in_nothing_that_makes_a_vector(name, other):
    free = {"name", "source", "licence", "notes", "max_text_tokens", "backbones"}
    a, b = (get_recipe(n).to_dict() for n in (name, other))
    assert {k for k in a if a[k] != b[k]} <= free


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A tokenizer split by Qwen's rule in which every word of the prompts is one token."""
    tokenizer = HubTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=2000, min_frequency=1, initial_alphabet=alphabet, show_progress=False)
    prompts = [part for golden in GOLDEN.values() for part in golden if part]
    tokenizer.train_from_iterator([p.replace("<|", " <| ").replace("|>", " |> ") for p in prompts] + prompts, trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in tiny.SPECIAL])
    folder = tmp_path_factory.mktemp("words")
    tokenizer.save(str(folder / "tokenizer.json"))
    return Tokenizer(folder)


def prompt(tokenizer, template, num_audio_tokens=None, **fields):
    made = Template(tokenizer, template, audio_token_id=tokenizer.token_id("<|AUDIO|>"))
    return made.audio(num_audio_tokens, **fields) if num_audio_tokens is not None else made.text(**fields)


def test_prompts_have_the_published_numbers_of_tokens(words):
    """11 for the system message, 3 for a turn's head, 2 for its end, 1 on each side of a sound."""
    assert len(words.encode(SYSTEM).ids) == 11
    oea, aurola = get_recipe("oea-qwen3b"), get_recipe("aurola-3b")
    heard = prompt(words, oea.audio_template, 250)
    assert len(heard) == 11 + 3 + 1 + 250 + 1 + 2
    assert heard.audio_span == (15, 250)
    # The request is 10 tokens to Qwen, which parts "Summarize" in two; one here.
    assert len(prompt(words, aurola.audio_template, 250)) == 250 + 31 - 1


def test_a_text_of_the_longest_length_fills_the_published_limit(words):
    oea = get_recipe("oea-qwen3b")
    made = Template(words, oea.text_template, max_text_tokens=oea.max_text_tokens)
    assert len(made.text("a" + " a" * 2000)) in (511, 512)


def test_aurola_pools_the_line_end_after_assistant(words):
    recipe = get_recipe("aurola-3b")
    newline = words.encode("\n").ids
    assert recipe.pooling == "last" and len(newline) == 1
    for made in (prompt(words, recipe.audio_template, 7), prompt(words, recipe.text_template, text="a dog")):
        assert made.token_ids[-1:] == newline
        assert made.token_ids[-3] == words.token_id("<|im_start|>")


def test_oea_drops_blanks_only_at_the_end(words):
    recipe = get_recipe("oea-qwen3b")
    made = Template(words, recipe.text_template, strip_end=recipe.strip_text_end).text(" a dog \n")
    want = words.encode(recipe.text_template.replace("{text}", " a dog")).ids
    assert made.token_ids == want


def test_every_recipe_names_its_source_and_licence():
    for name, recipe in recipes().items():
        assert recipe.source and recipe.licence and recipe.backbones, name


@pytest.mark.parametrize("template", ["{audio}", "{text}", "{audio}{text}{text}"])
def test_a_prompt_for_both_must_hold_both_once(template):
    with pytest.raises(ModelError, match="audio_text_template must hold {"):
        replace(get_recipe("aurola-3b"), audio_text_template=template)
