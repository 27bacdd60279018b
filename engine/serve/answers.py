"""Vectors as OpenAI's embeddings answer has them.

Source: OpenAI's API reference, embeddings.
"""

import base64

import numpy as np
from fastapi.responses import JSONResponse

from .problems import Problem
from .service import Embedded


def embeddings_answer(
    model: str, embedded: Embedded, dim: int, encoding: str, skip_errors: bool, param: str
) -> JSONResponse:
    """The answer to an embeddings request.

    Args:
        model: its name.
        embedded: what became of each item.
        dim: components of each vector that are kept.
        encoding: "float" or "base64".
        skip_errors: answer with the items that have a vector, if any has.
        param: the request's field that held the items.

    Raises:
        Problem: an item failed and errors are not skipped, or all failed.
    """
    failed = {i: result for i, result in enumerate(embedded.results) if isinstance(result, Problem)}
    errors = [{"index": i, "message": problem.message} for i, problem in failed.items()]
    if failed and (not skip_errors or len(failed) == len(embedded.results)):
        first, problem = next(iter(failed.items()))
        raise Problem(
            problem.status,
            problem.message,
            param=param if len(embedded.results) == 1 else f"{param}[{first}]",
            code=problem.code,
            items=errors,
            retry_after_s=problem.retry_after_s,
        )
    rows = [
        {"object": "embedding", "index": i, "embedding": _encoded(_cut(result, dim), encoding)}
        for i, result in enumerate(embedded.results)
        if isinstance(result, np.ndarray)
    ]
    usage = {"prompt_tokens": embedded.num_tokens, "total_tokens": embedded.num_tokens}
    return JSONResponse({"object": "list", "model": model, "data": rows, "usage": usage, "errors": errors})


def _cut(vector: np.ndarray, dim: int) -> np.ndarray:
    """The first components; a shorter vector is brought back to unit length."""
    if dim == len(vector):
        return vector
    head = vector[:dim]
    return head / max(float(np.linalg.norm(head)), 1e-12)


def _encoded(vector: np.ndarray, encoding: str) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()
