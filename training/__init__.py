"""From captioned sounds to a trained adapter: data, losses, LoRA stages, evaluation."""
