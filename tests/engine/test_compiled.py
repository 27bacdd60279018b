"""Layers through torch.compile: traced whole, once for every batch, and the same vectors."""

import torch
from torch._dynamo.testing import CompileCounter

from harken.engine.compiled import compile_layers
from harken.engine.models.load import load_model
from harken.engine.models.packed import Segments

from .. import tiny, tolerances


def test_compiled_layers_give_the_same_states(tmp_path):
    folder = tiny.omni(tmp_path, "thinker")
    plain, compiled = (load_model(folder, dtype=torch.float32, device="cpu") for _ in range(2))
    torch._dynamo.reset()
    counter = CompileCounter()
    assert compile_layers(compiled, backend=counter) == len(plain.decoder.layers) + len(plain.tower.layers)
    clips = [tiny.wave(n) for n in (3200, 16000, 48007)]
    with torch.inference_mode():
        for batch in (clips, clips[:1], clips[1:]):
            (got, _), (want, _) = (model.audio_rows(model.features(batch)) for model in (compiled, plain))
            assert (got - want).abs().max() < tolerances.STATE_INVARIANCE * want.abs().max()
            segments = Segments.of([len(want) - 3, 3])
            for last_only in (False, True):
                got, want_h = (m.decoder(want, segments, last_only=last_only) for m in (compiled, plain))
                assert (got - want_h).abs().max() < tolerances.STATE_INVARIANCE * want_h.abs().max()
    # The tower's finish, and the decoder's project and finish for all rows and for the last ones; not one a layer or batch.
    assert counter.frame_count <= 5
