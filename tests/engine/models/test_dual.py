"""HTSAT, packed RoBERTa and the projections against transformers and torch: every length, any batch, any order."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from harken.engine.models.load import load_any
from harken.engine.models.packed import Segments
from harken.engine.models.roberta import Roberta, RobertaConfig
from harken.engine.models.weights import Weights
from harken.engine.text.template import Template
from harken.engine.text.tokenizer import Tokenizer
from harken.errors import InputError, ModelError

from ... import tiny, tiny_clap, tolerances

# One sample, less than a frame, repeated often, once, not quite twice, twice, not at all, and all there is room for.
LENGTHS = [1, 300, 479, 4800, 48000, 160001, 239999, 240000, 240001, 479999, 480000]
TEXTS = ["x", "a dog barks", "Ünïcödé 狗 🐕 in  the\n rain", "music over a dog barking while cars pass by in rain"]


@pytest.fixture(scope="module")
def clap(tmp_path_factory):
    from transformers import ClapModel

    folder = tiny_clap.clap(tmp_path_factory.mktemp("clap"))
    oracle = ClapModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    return folder, oracle, load_any(folder, dtype=torch.float32, device="cpu")


@pytest.fixture(scope="module")
def robust(tmp_path_factory):
    folder = tiny_clap.robust_atr(tmp_path_factory.mktemp("robust"))
    return folder, load_any(folder, dtype=torch.float32, device="cpu")


def mels(folder, clips):
    from transformers import ClapFeatureExtractor

    got = ClapFeatureExtractor.from_pretrained(folder)(list(clips), sampling_rate=48000, return_tensors="pt")
    return got["input_features"]


def prompts(folder, texts):
    template = Template(Tokenizer(folder), "<s>{text}</s>")
    return [template.text(text) for text in texts]


def ids(folder, text):
    from transformers import AutoTokenizer

    return torch.tensor([AutoTokenizer.from_pretrained(folder)(text)["input_ids"]])


@torch.inference_mode()
def test_every_length_equals_transformers(clap):
    folder, oracle, model = clap
    clips = [tiny_clap.wave(n, seed=i) for i, n in enumerate(LENGTHS)]
    for part in (slice(0, 6), slice(6, None)):
        samples = torch.from_numpy(np.concatenate(clips[part]))
        mel = model.tower.features(samples, (0, *np.cumsum(LENGTHS[part]).tolist()))
        states, features = model.tower(mel), mels(folder, clips[part])
        want = oracle.audio_model(features).last_hidden_state.permute(0, 2, 3, 1)
        assert (states - want).abs().max() < tolerances.HIDDEN_FP32
        vectors = F.normalize(model.audio_vectors(clips[part]), dim=-1)
        assert (vectors - oracle.get_audio_features(features).pooler_output).abs().max() < tolerances.VECTOR_FP32


@torch.inference_mode()
def test_hard_signals_equal_transformers(clap):
    folder, oracle, model = clap
    click = 1e-4 * tiny_clap.wave(90000)
    click[-60:] += 0.9
    clips = [np.zeros(48000, np.float32), np.ones(8000, np.float32), click]
    want = oracle.get_audio_features(mels(folder, clips)).pooler_output
    assert (F.normalize(model.audio_vectors(clips), dim=-1) - want).abs().max() < tolerances.VECTOR_FP32


@torch.inference_mode()
def test_text_equals_transformers(clap):
    folder, oracle, model = clap
    packed = prompts(folder, TEXTS)
    vectors = F.normalize(model.text_vectors(packed), dim=-1)
    for text, prompt, vector in zip(TEXTS, packed, vectors):
        tokens = ids(folder, text)
        assert prompt.token_ids == tokens[0].tolist()
        want = oracle.get_text_features(tokens, attention_mask=torch.ones_like(tokens)).pooler_output[0]
        assert (vector - want).abs().max() < tolerances.VECTOR_FP32


@torch.inference_mode()
def test_roberta_alone_equals_transformers(tmp_path):
    from transformers import RobertaConfig as Config
    from transformers import RobertaModel

    config = Config(
        vocab_size=90, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=40, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1,
    )  # fmt: skip
    oracle = RobertaModel(config, add_pooling_layer=False).eval()
    tiny.randomize(oracle)
    oracle.save_pretrained(tmp_path)
    weights = Weights(tmp_path, adapter=None, dtype=torch.float32, device="cpu")
    model = Roberta(weights, RobertaConfig.read(json.loads((tmp_path / "config.json").read_text()), "here"))
    weights.finish()
    lengths = [1, 2, 7, 7, 20, 38]
    rows = torch.randint(2, 90, (sum(lengths),), generator=torch.Generator().manual_seed(3))
    segments = Segments.of(lengths)
    for one, got in zip(rows.split(lengths), model(rows, segments).split(lengths)):
        assert (got - oracle(one[None]).last_hidden_state[0]).abs().max() < tolerances.HIDDEN_FP32


@torch.inference_mode()
def test_neighbours_and_order_change_nothing(clap, robust):
    for folder, model in ((clap[0], clap[2]), robust):
        clips = [tiny_clap.wave(n, seed=i) for i, n in enumerate([700, 480000, 48000, 48000])]
        for encode, items in ((model.audio_vectors, clips), (model.text_vectors, prompts(folder, TEXTS))):
            alone = torch.cat([encode([item]) for item in items])
            backwards = encode(items[::-1]).flip(0)
            scale = alone.norm(dim=-1, keepdim=True)
            assert ((encode(items) - alone) / scale).abs().max() < tolerances.BATCH_INVARIANCE
            assert ((backwards - alone) / scale).abs().max() < tolerances.BATCH_INVARIANCE


@torch.inference_mode()
@pytest.mark.parametrize("summary", ["mean", "first"])
def test_the_projection_of_robust_atr_is_torchs_transformer(tmp_path, summary):
    folder = tiny_clap.robust_atr(tmp_path, summary=summary)
    model = load_any(folder, dtype=torch.float32, device="cpu")
    tensors = load_file(folder / "model.safetensors")

    def project(x_BTW, name):
        for i in range(2):
            layer = torch.nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", batch_first=True).eval()
            prefix = f"{name}.layers.{i}."
            layer.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
            x_BTW = layer(x_BTW)
        x_BTW = F.linear(x_BTW, tensors[f"{name}.linear.weight"], tensors[f"{name}.linear.bias"])
        return x_BTW.mean(1) if summary == "mean" else x_BTW[:, 0]

    clips = [tiny_clap.wave(50000), tiny_clap.wave(480000, 1)]
    mel = model.tower.features(torch.from_numpy(np.concatenate(clips)), (0, 50000, 530000))
    want = project(model.tower(mel).mean(1), "audio_projection")
    assert (model.audio_vectors(clips) - want).abs().max() < tolerances.HIDDEN_FP32
    for prompt, vector in zip(prompts(folder, TEXTS), model.text_vectors(prompts(folder, TEXTS))):
        states = model.reader(torch.tensor(prompt.token_ids), Segments.of([len(prompt)]))
        assert (vector - project(states[None], "text_projection")[0]).abs().max() < tolerances.HIDDEN_FP32


@torch.inference_mode()
def test_chunks_are_attended_to_by_the_learned_query(robust, clap):
    folder, model = robust
    query = load_file(folder / "model.safetensors")["chunk_query"]
    chunks = torch.randn(6, tiny_clap.DIM, generator=torch.Generator().manual_seed(1))
    got = model.pool_chunks(chunks, Segments.of([1, 3, 2]))
    for rows, vector in zip(chunks.split([1, 3, 2]), got):
        weights = (rows @ query / tiny_clap.DIM**0.5).softmax(0)
        assert (vector - weights @ rows).abs().max() < tolerances.HIDDEN_FP32
    with pytest.raises(ModelError, match="chunk_query"):
        clap[2].pool_chunks(chunks, Segments.of([6]))


def test_what_does_not_fit_is_refused(clap, tmp_path):
    folder, _, model = clap
    with pytest.raises(ModelError, match="480001 samples"):
        model.audio_vectors([np.zeros(480001, np.float32)])
    with pytest.raises(InputError, match="at most 64"):
        model.text_vectors(prompts(folder, ["dog " * 90]))
    fused = tiny_clap.clap(tmp_path)
    config = json.loads((fused / "config.json").read_text())
    config["audio_config"]["enable_fusion"] = True
    (fused / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="enable_fusion"):
        load_any(fused, dtype=torch.float32, device="cpu")
