"""The C++ tokenizer gives exactly the ids of `tokenizers`, on 10,000 strings over every kind of file it reads."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from harken import csrc
from harken.engine.convert.gguf import GgufLlama
from harken.engine.convert.mini import AUDIO_TOKENS, SMOLLM2, _package_file
from harken.errors import FileFormatError, ModelError
from harken.kernels import cpp

from .strings import drawn_strings

if cpp.missing():
    pytest.skip(f"the C++ core cannot run here: {cpp.missing()}", allow_module_level=True)

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)
ADDED = [
    AddedToken("<|im_start|>", special=True, normalized=False),
    AddedToken("<|im|>", special=False, normalized=False),
    AddedToken("<mask>", special=True, normalized=False, lstrip=True),
    AddedToken("<right>", special=True, normalized=False, rstrip=True),
    AddedToken("word", special=False, normalized=False, single_word=True),
    AddedToken("caf\u00e9", special=False, normalized=True),
    AddedToken("\u00e9\u0301", special=False, normalized=True),
]
byte_level = pre_tokenizers.ByteLevel
split = lambda pattern: pre_tokenizers.Split(Regex(pattern), "isolated")
KINDS = {
    "gpt2": (None, [byte_level(add_prefix_space=False)]),
    "gpt2-written-out": (None, [split(GPT2), byte_level(add_prefix_space=False, use_regex=False)]),
    "qwen2": (normalizers.NFC(), [split(QWEN2), byte_level(add_prefix_space=False, use_regex=False)]),
    "llama3": (None, [split(LLAMA3), byte_level(add_prefix_space=False, use_regex=False)]),
    "digits": (None, [pre_tokenizers.Digits(individual_digits=False), byte_level(add_prefix_space=False)]),
}


def trained(kind: str) -> Tokenizer:
    normalizer, steps = KINDS[kind]
    tokenizer = Tokenizer(models.BPE(ignore_merges=kind == "llama3"))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    tokenizer.decoder = decoders.ByteLevel()
    corpus = [s.decode("utf-8", "replace") for s in drawn_strings(2000, [], seed=1)]
    alphabet = sorted(byte_level.alphabet())
    tokenizer.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_tokens(ADDED)
    return tokenizer


def saved(tokenizer: Tokenizer, folder: Path) -> str:
    path = str(folder / "tokenizer.json")
    tokenizer.save(path)
    return path


def assert_same_ids(tokenizer: Tokenizer, path: str, special: list[str], num: int, seed: int) -> None:
    got = csrc.core().Tokenizer(path)
    strings = list(drawn_strings(num, special, seed))
    texts = [s.decode("utf-8", "replace") for s in strings]
    for string, want in zip(strings, tokenizer.encode_batch(texts, add_special_tokens=False)):
        assert got.encode(string) == want.ids, string


@pytest.mark.parametrize("kind", KINDS)
def test_ids_equal_tokenizers(kind, tmp_path):
    tokenizer = trained(kind)
    assert_same_ids(tokenizer, saved(tokenizer, tmp_path), [str(t) for t in ADDED] + ["words", "a word "], 1500, 2)


def test_smollm2_equals_tokenizers(tmp_path):
    try:
        model = GgufLlama(_package_file(*SMOLLM2[:2]))
    except ModelError as error:
        pytest.skip(f"SmolLM2's vocabulary is not here: {error}")
    tokenizer = model.tokenizer(AUDIO_TOKENS)
    path = saved(tokenizer, tmp_path)
    assert_same_ids(tokenizer, path, ["<|im_start|>", "<|im_end|>", *AUDIO_TOKENS], 2500, 3)
    core = csrc.core().Tokenizer(path)
    assert core.vocab_size == tokenizer.get_vocab_size(with_added_tokens=True)
    assert core.token_id("<|im_end|>") == tokenizer.token_to_id("<|im_end|>") and core.token_id("no such") is None


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"normalizer": {"type": "NFKC"}}, ModelError, "normalizer NFKC"),
        ({"pre_tokenizer": {"type": "Metaspace"}}, ModelError, "pre-tokenizer Metaspace"),
        ({"pre_tokenizer": None}, ModelError, "no ByteLevel"),
        ({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}}, ModelError, "add_prefix_space"),
        ({"model": {"type": "Unigram"}}, ModelError, "model Unigram"),
        ({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}, ModelError, "the id -1"),
        ({"model": {"type": "BPE", "vocab": {}, "merges": ["a b"]}}, ModelError, 'speaks of "a"'),
        ({"model": {"type": "BPE", "vocab": {}, "merges": ["ab"]}}, ModelError, 'a merge is "ab"'),
        ({"model": 3}, FileFormatError, "wanted an object, got a whole number"),
        ({"added_tokens": [{"id": 2**31, "content": "x"}]}, ModelError, "the id 2147483648"),
    ],
    ids=str,
)
def test_says_what_it_does_not_read(change, error, text, tmp_path):
    path = Path(saved(trained("gpt2"), tmp_path))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(error, match=text):
        csrc.core().Tokenizer(str(path))


def test_a_file_that_is_no_json(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(FileFormatError, match="is no JSON at byte 1"):
        csrc.core().Tokenizer(str(tmp_path / "tokenizer.json"))
    with pytest.raises(FileFormatError, match="cannot be opened"):
        csrc.core().Tokenizer(str(tmp_path / "missing.json"))
