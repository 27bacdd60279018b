"""Does this machine's TensorRT-LLM still build TensorRT engines? Exits with what to do instead where it does not."""

import shutil
import sys


def check_version() -> None:
    """Exit with a message where tensorrt_llm is missing or has no engines."""
    try:
        import tensorrt_llm
    except ImportError as error:
        sys.exit(f"tensorrt_llm cannot be imported ({error}); wanted a machine with TensorRT-LLM 1.2.1 or older")
    if shutil.which("trtllm-build") is None:
        sys.exit(
            f"tensorrt_llm {tensorrt_llm.__version__} has no trtllm-build: the TensorRT engine backend was taken out after "
            "1.2.1. Use TensorRT-LLM 1.2.1 (nvcr.io/nvidia/tensorrt-llm/release:1.2.1), or export with "
            "`harken export --to trtllm`, which runs on the PyTorch backend of newer releases"
        )


if __name__ == "__main__":
    check_version()
