"""harken's models as models of MTEB: an encoder, a cross-encoder, and a whole search.

    import mteb
    from harken.bench.quality.mteb_models import HarkenEncoder
    mteb.evaluate(HarkenEncoder(), mteb.get_tasks(tasks=["ClothoT2ARetrieval"]))

Sounds are read by harken from the bytes that the dataset holds: nothing is resampled twice, and torchcodec is not needed.
An empty text (MTEB's Clotho has 905 of them) gets a vector of zeros and a line in the log; a sound that cannot be read
ends the task with an error that names it. Sounds with a text each go through the recipe's own prompt where it has one,
else their unit vectors are averaged.

MTEB's sets are not the papers': its AudioCaps has 883 clips, not 975. `harken eval` has the papers'.

Source: mteb 2, protocols `EncoderProtocol`, `CrossEncoderProtocol`, `SearchProtocol`.
"""

import logging
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from .mteb_inputs import batches, members
from .retrieval import unit

if TYPE_CHECKING:
    import torch
    from mteb.models.model_meta import ModelMeta

    from ...engine.embedder import Embedder
    from ...engine.fingerprint import Fingerprint
    from ...engine.index import Index
    from ...engine.rerank.reranker import Reranker

_log = logging.getLogger(__name__)


class HarkenEncoder:
    """An Embedder as an mteb encoder.

    Args:
        model_name: checkpoint folder or hub repository; None: the built-in model.
        revision: not looked at; weights are told by their fingerprint.
        device: as `harken.load` takes it.
        embedder: a model that is loaded already, in place of all others.
        **options: of `harken.load`: recipe, adapter, dtype, batch_tokens.
    """

    def __init__(
        self,
        model_name: str | None = None,
        revision: str | None = None,
        *,
        device: str | None = None,
        embedder: "Embedder | None" = None,
        **options: Any,
    ) -> None:
        if embedder is None:
            from ...engine.load import load

            embedder = load(model_name, device=device, **options)
        self.embedder = embedder

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any = None,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Vectors [n, d] float32 of a data loader's batches of texts, sounds, or both.

        Raises:
            InputError: a batch has neither text nor sound.
            AudioError: a sound cannot be read.
        """
        vectors = [self._batch(batch) for batch in batches(inputs)]
        return np.concatenate(vectors) if vectors else np.zeros((0, self.embedder.dim), np.float32)

    def _batch(self, batch: dict[str, list[Any]]) -> np.ndarray:
        texts, sounds = batch.get("text"), batch.get("audio")
        if texts is None and sounds is None:
            raise InputError(f"a batch has columns {sorted(batch)}; wanted text, audio, or both")
        if texts is None:
            return self.embedder.encode_audio(sounds or [])
        if sounds is None:
            return self._texts(texts)
        if self.embedder.recipe.audio_text_template is not None:
            return self.embedder.encode_audio_text(list(zip(sounds, texts)))
        return unit(unit(self.embedder.encode_audio(sounds)) + unit(self._texts(texts)))

    def _texts(self, texts: list[str]) -> np.ndarray:
        there = [i for i, text in enumerate(texts) if text.strip()]
        vectors = np.zeros((len(texts), self.embedder.dim), np.float32)
        if there:
            vectors[there] = self.embedder.encode_text([texts[i] for i in there])
        if len(there) < len(texts):
            _log.warning("%d of %d texts are empty; their vectors are zeros", len(texts) - len(there), len(texts))
        return vectors

    def similarity(self, embeddings1: Any, embeddings2: Any) -> "torch.Tensor":
        """Cosines [n, m]."""
        import torch

        return torch.from_numpy(unit(np.atleast_2d(embeddings1)) @ unit(np.atleast_2d(embeddings2)).T)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> "torch.Tensor":
        """Cosines [n] of rows that belong together."""
        import torch

        return torch.from_numpy((unit(np.atleast_2d(embeddings1)) * unit(np.atleast_2d(embeddings2))).sum(1))

    @cached_property
    def mteb_model_meta(self) -> "ModelMeta":
        return _meta(self.embedder.fingerprint, self.embedder.recipe.licence, "dense", HarkenEncoder, self.embedder.dim)


class HarkenSearch:
    """An Embedder and harken's exact index as a search system of mteb; arguments as `HarkenEncoder`."""

    def __init__(self, model_name: str | None = None, revision: str | None = None, **options: Any) -> None:
        self.encoder = HarkenEncoder(model_name, revision, **options)
        self._index: Index | None = None

    def index(
        self,
        corpus: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        encode_kwargs: Any = None,
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Embed a corpus and index it, in place of the one before."""
        from ...engine.index import Index

        vectors = self._vectors(corpus, task_metadata, "document", encode_kwargs)
        self._index = Index.build(unit(vectors), ids=[str(i) for i in corpus["id"]])

    def search(
        self,
        queries: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        top_k: int,
        encode_kwargs: Any = None,
        top_ranked: dict[str, list[str]] | None = None,
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> dict[str, dict[str, float]]:
        """The top_k documents of each query with their cosines; with `top_ranked` among those listed for the query.

        Raises:
            InputError: nothing was indexed.
        """
        if self._index is None:
            raise InputError("search before index: there is no corpus")
        vectors = unit(self._vectors(queries, task_metadata, "query", encode_kwargs))
        names = [str(name) for name in queries["id"]]
        if top_ranked is None:
            hits = self._index.search(vectors, k=min(top_k, len(self._index)))
            return {name: dict(zip(ids, map(float, scores))) for name, ids, scores in zip(names, hits.ids, hits.scores)}
        place = {name: i for i, name in enumerate(self._index.ids)}
        found = {}
        for name, vector in zip(names, vectors):
            mask = np.zeros(len(self._index), bool)
            mask[[place[document] for document in top_ranked[name]]] = True
            hits = self._index.search(vector[None], k=min(top_k, int(mask.sum())), filter=mask)
            found[name] = dict(zip(hits.ids[0], map(float, hits.scores[0])))
        return found

    def _vectors(self, dataset: Any, task_metadata: Any, kind: str, encode_kwargs: Any) -> np.ndarray:
        from mteb._create_dataloaders import create_dataloader
        from mteb.types import PromptType

        loader = create_dataloader(
            dataset, task_metadata=task_metadata, prompt_type=PromptType(kind), **(encode_kwargs or {})
        )
        return self.encoder.encode(loader)

    @cached_property
    def mteb_model_meta(self) -> "ModelMeta":
        embedder = self.encoder.embedder
        return _meta(embedder.fingerprint, embedder.recipe.licence, "dense", HarkenSearch, embedder.dim)


class HarkenReranker:
    """A Reranker as an mteb cross-encoder; one member of each pair is a sound and the other a text.

    Args:
        model_name: checkpoint folder or hub repository.
        revision: not looked at.
        device: as `harken.load_reranker` takes it.
        reranker: a model that is loaded already, in place of all others.
        **options: of `harken.load_reranker`.
    """

    def __init__(
        self,
        model_name: str | None = None,
        revision: str | None = None,
        device: str | None = None,
        *,
        reranker: "Reranker | None" = None,
        **options: Any,
    ) -> None:
        if reranker is None:
            from ...engine.rerank.load import load_reranker

            if model_name is None:
                raise InputError("there is no built-in reranker; wanted model_name, a checkpoint folder or repository")
            reranker = load_reranker(model_name, device=device, **options)
        self.reranker = reranker

    def predict(
        self,
        inputs1: Any,
        inputs2: Any,
        *,
        task_metadata: Any = None,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """P(Yes) [n] float32 of pairs of (query, document).

        Raises:
            InputError: two sounds or two texts, or a pair that cannot be scored; its position is named.
        """
        queries, documents = list(members(inputs1)), list(members(inputs2))
        if len(queries) != len(documents):
            raise InputError(f"wanted pairs, got {len(queries)} queries and {len(documents)} documents")
        scores = np.zeros(len(queries), np.float32)
        for direction, kinds in (("a2t", ("audio", "text")), ("t2a", ("text", "audio"))):
            rows = [i for i, (q, d) in enumerate(zip(queries, documents)) if (q[0], d[0]) == kinds]
            if rows:
                pairs = [(queries[i][1], documents[i][1]) for i in rows]
                scores[rows] = self.reranker.predict(pairs, direction=direction)  # type: ignore[arg-type]
        same = [i for i, (q, d) in enumerate(zip(queries, documents)) if q[0] == d[0]]
        if same:
            raise InputError(f"pair {same[0]} has two of {queries[same[0]][0]}; wanted a sound and a text")
        return scores

    @cached_property
    def mteb_model_meta(self) -> "ModelMeta":
        recipe = self.reranker.recipe
        return _named_meta(f"harken/{recipe.name}", None, recipe.licence, "cross-encoder", HarkenReranker, None)


def _meta(fingerprint: "Fingerprint", licence: str, kind: str, loader: Any, dim: int) -> "ModelMeta":
    name = f"harken/{fingerprint.model}-{fingerprint.recipe}-{fingerprint.dtype}"
    return _named_meta(name, fingerprint.id, licence, kind, loader, dim)


def _named_meta(name: str, revision: str | None, licence: str, kind: str, loader: Any, dim: int | None) -> "ModelMeta":
    try:
        from mteb.models.model_meta import ModelMeta, ScoringFunction
    except ImportError:
        raise InputError('mteb is not installed: pip install "harken[mteb]"') from None
    return ModelMeta(
        loader=partial(loader),
        name=name,
        revision=revision,
        release_date=None,
        languages=None,
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=None,
        embed_dim=dim,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=ScoringFunction.COSINE if kind == "dense" else None,
        use_instructions=None,
        training_datasets=None,
        modalities=["audio", "text"],
        model_type=[kind],  # type: ignore[list-item]
        contacts=None,
        experiment_kwargs={"licence": licence} if licence else None,
    )
