"""Models that can be trained: a backbone of transformers with peft's LoRA, as embedder or as reranker, and Robust-ATR."""
