"""The losses of the four systems; row i of the two sides is one pair, every vector of unit length."""

from .gather import gather_rows
from .hybrid_nce import hybrid_nce_coded, hybrid_nce_paper
from .info_nce import one_direction_info_nce, symmetric_info_nce
from .masked import Temperature, masked_bidirectional
from .rerank import distilled_ranking, in_batch_rerank, listwise_cross_entropy, rerank_cross_entropy
from .weighted import cosine_l1_contrastive

__all__ = [
    "Temperature",
    "cosine_l1_contrastive",
    "distilled_ranking",
    "gather_rows",
    "hybrid_nce_coded",
    "hybrid_nce_paper",
    "in_batch_rerank",
    "listwise_cross_entropy",
    "masked_bidirectional",
    "one_direction_info_nce",
    "rerank_cross_entropy",
    "symmetric_info_nce",
]
