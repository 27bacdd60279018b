"""From other engines' weight files to checkpoint folders in Hugging Face layout; writes what `engine.models` reads."""
