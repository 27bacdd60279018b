"""Re-ranking: pairs of a sound and a text scored by a multimodal LLM, what pairs share computed once."""
