"""Models of two encoders: Robust-ATR, whose long sounds are chunks a learned query attends to, and LAION-CLAP.

Neither prompts its model, and how states become one vector is the checkpoint's matter, so `pooling` and `attention` are
not read. Robust-ATR publishes neither weights nor most of its numbers; what is not published stands here as a default:

    chunks        10 s, what HTSAT hears at once; clips up to 10 s are taken whole
    silence       stretches of more than 1 s that stay 40 dB below the loudest 20 ms are dropped
    chunk score   scaled dot product with the query
    projection    config.json of the checkpoint (engine/models/dual.py): one layer, 8 heads, gelu, mean over the states

LAION-CLAP takes a random 10 s of a longer clip; here it is the mean over all its chunks, so that the answer is the same twice.

Source: Robust-ATR, arXiv 2604.23323; LAION-CLAP, arXiv 2211.06687; spec/recipes.md E.
"""

from .recipe import Recipe

RECIPES = (
    Recipe(
        name="robust-atr",
        source="Robust-ATR, arXiv 2604.23323",
        backbones=("robust_atr",),
        audio_template="{audio}",
        text_template="<s>{text}</s>",
        max_audio_s=10.0,
        long_audio="chunk-attention",
        silence_db=40.0,
        silence_s=1.0,
        max_text_tokens=510,
        licence="no weights are published",
    ),
    Recipe(
        name="laion-clap",
        source="LAION-CLAP, arXiv 2211.06687",
        backbones=("clap",),
        audio_template="{audio}",
        text_template="<s>{text}</s>",
        max_audio_s=10.0,
        long_audio="window-mean",
        max_text_tokens=75,
        licence="Apache-2.0",
    ),
)
