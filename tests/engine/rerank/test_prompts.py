"""Prompts: the published strings, and a cut that never changes the ids of the whole."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.engine.recipes.rerank import CLEAN, RERANK_RECIPES, TRAINED, RerankRecipe, get_rerank_recipe
from harken.engine.rerank.prompts import PairPrompts
from harken.engine.text.tokenizer import Tokenizer
from harken.errors import InputError, ModelError

from ... import tiny
from . import naive


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.write_tokenizer(folder)
    return Tokenizer(folder)


def rendered(kind, text, count, instruction=naive.INSTRUCTION):
    return naive.prompt(kind, text, instruction).replace("{audio}", "<|AUDIO|>" * count)


@pytest.mark.parametrize("recipe", [r for r in RERANK_RECIPES if r.name.startswith("aurola")], ids=lambda r: r.name)
@given(text=st.text(min_size=1, max_size=30).filter(str.strip), count=st.integers(1, 30))
@settings(max_examples=50, deadline=None)
def test_both_parts_are_the_published_string_tokenised(tokenizer, recipe, text, count):
    prompts = PairPrompts(tokenizer, recipe, tokenizer.token_id("<|AUDIO|>"))
    instruction = TRAINED if recipe.name == "aurola-rerank-trained" else CLEAN
    for direction, kind in (("a2t", "a2t"), ("t2a", "audio-first" if recipe.audio_first else "t2a")):
        split = prompts.split(direction, text, count)
        whole = split.prefix.token_ids + split.suffix.token_ids
        assert whole == tokenizer.encode(rendered(kind, text, count, instruction)).ids
        assert len(split.prefix) >= 1 and len(split.suffix) >= 1
        holder = split.prefix if kind != "t2a" else split.suffix
        first, length = holder.audio_span
        assert holder.token_ids[first : first + length] == [tokenizer.token_id("<|AUDIO|>")] * count


def test_instructions_are_spelt_as_published():
    assert CLEAN == naive.INSTRUCTION
    assert (
        TRAINED.split("candidate")[2]
        == 20 * " " + "matches the query. If it does, respond with 'Yes'; if it doesn't, respond with 'No'."
    )
    assert get_rerank_recipe("aurola-rerank").instruction == CLEAN


def test_candidates_share_everything_but_themselves(tokenizer):
    prompts = PairPrompts(tokenizer, get_rerank_recipe("aurola-rerank"), tokenizer.token_id("<|AUDIO|>"))
    splits = [prompts.split("a2t", text, 25) for text in ("a dog barks", "rain", ": music", "\n狗")]
    assert len({tuple(split.prefix.token_ids) for split in splits}) == 1
    tail = len(tokenizer.encode(naive.ANSWER).ids)
    for split, text in zip(splits, ("a dog barks", "rain", ": music", "\n狗")):
        assert len(split.suffix) <= 1 + len(tokenizer.encode(text).ids) + tail
    splits = [prompts.split("t2a", "a dog barks", count) for count in (1, 25, 250)]
    assert len({tuple(split.prefix.token_ids) for split in splits}) == 1
    assert [len(split.suffix) for split in splits] == [count + 1 + tail for count in (1, 25, 250)]


def test_a_tokenizer_that_joins_text_to_the_prompt_splits_no_group(tmp_path):
    """With a token ":a", the ids before "a dog" and before "rain" are not the same; what is shared must be."""
    tiny.write_tokenizer(tmp_path)
    joining = json.loads((tmp_path / "tokenizer.json").read_text())
    joining["model"]["vocab"][":a"] = 511
    joining["model"]["merges"].insert(0, [":", "a"])
    (tmp_path / "tokenizer.json").write_text(json.dumps(joining))
    tokenizer = Tokenizer(tmp_path)
    prompts = PairPrompts(tokenizer, get_rerank_recipe("aurola-rerank"), tokenizer.token_id("<|AUDIO|>"))
    splits = [prompts.split("a2t", text, 5) for text in ("a dog", "rain")]
    assert splits[0].suffix.token_ids[0] == 511 and 511 not in splits[1].suffix.token_ids
    assert splits[0].prefix == splits[1].prefix
    for split, text in zip(splits, ("a dog", "rain")):
        assert split.prefix.token_ids + split.suffix.token_ids == tokenizer.encode(rendered("a2t", text, 5)).ids


@pytest.mark.parametrize("text, said", [("", "empty"), (" \n", "empty"), (5, "got int"), (None, "got NoneType")])
def test_texts_that_say_nothing_are_refused(tokenizer, text, said):
    prompts = PairPrompts(tokenizer, get_rerank_recipe("aurola-rerank"), tokenizer.token_id("<|AUDIO|>"))
    with pytest.raises(InputError, match=said):
        prompts.split("a2t", text, 5)


def test_recipes_that_cannot_work_are_refused():
    fields = dict(name="own", source="own", backbones=("qwen2_audio",), instruction="")
    with pytest.raises(ModelError, match="t2a_template must hold {audio} exactly once"):
        RerankRecipe(**fields, a2t_template="{audio}{text}", t2a_template="{text}")
    with pytest.raises(ModelError, match="t2a_audio_first_template is missing"):
        RerankRecipe(**fields, a2t_template="{audio}{text}", t2a_template="{text}{audio}", audio_first=True)
    with pytest.raises(ModelError, match="long_audio is 'window-mean'"):
        RerankRecipe(**fields, a2t_template="{audio}{text}", t2a_template="{text}{audio}", long_audio="window-mean")
    with pytest.raises(ModelError, match="no rerank recipe 'nothing'; there are aurola-rerank"):
        get_rerank_recipe("nothing")


def test_a_recipe_of_ones_own_is_a_json_file(tmp_path):
    fields = asdict(replace(get_rerank_recipe("aurola-rerank"), name="own", yes="True", no="False"))
    (tmp_path / "own.json").write_text(json.dumps(fields))
    assert get_rerank_recipe(tmp_path / "own.json") == RerankRecipe(**fields)


@pytest.mark.parametrize(
    "text, said",
    [
        ('{"name": "own", "pooling": "mean"}', r"own.json: unknown fields \['pooling'\]; known are"),
        ('{"name": "own"}', "own.json: .*missing .* 'source'"),
        ("[1]", "own.json: .*wanted a JSON object, got list"),
        ("{", "own.json: cannot be read as a recipe"),
    ],
)
def test_a_json_file_that_is_no_recipe_is_refused_by_name(tmp_path, text, said):
    (tmp_path / "own.json").write_text(text)
    with pytest.raises(ModelError, match=said):
        get_rerank_recipe(str(tmp_path / "own.json"))
