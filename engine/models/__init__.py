"""The models as packed graphs: weights, audio towers, decoder. No padding anywhere, no `transformers` at run time."""
