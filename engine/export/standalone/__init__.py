"""Programs copied into exports for TensorRT-LLM. They need torch, safetensors and tensorrt_llm, and know nothing of harken."""
