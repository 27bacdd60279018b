"""harken: fast audio-text retrieval with multimodal LLMs.

    model = harken.load()                                   # the built-in small model; or a checkpoint folder
    audio = model.encode_audio(["dog.wav", "rain.flac"])    # float32 [2, d], unit length
    text = model.encode_text(["a dog barks"])
    index = harken.Index.build(audio, ids=["dog", "rain"], fingerprint=model.fingerprint)
    hits = index.search(text, k=1)

Names are imported when they are first used, so `import harken` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import errors as errors
    from .engine.embedder import Embedder as Embedder
    from .engine.index import Hits as Hits
    from .engine.index import Index as Index
    from .engine.load import load as load
    from .engine.recipes import Recipe as Recipe
    from .engine.rerank.load import load_reranker as load_reranker
    from .engine.rerank.reranker import Reranker as Reranker

__version__ = "0.1.0"

_HOME = {
    "Embedder": ".engine.embedder",
    "load": ".engine.load",
    "Hits": ".engine.index",
    "Index": ".engine.index",
    "Recipe": ".engine.recipes",
    "Reranker": ".engine.rerank.reranker",
    "load_reranker": ".engine.rerank.load",
}
__all__ = ["errors", *_HOME]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module(".errors", __name__)
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
