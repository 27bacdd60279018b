"""A captioner behind an OpenAI-compatible endpoint: POST {url}/chat/completions.

Too many requests (429), a busy or broken server (5xx), a lost connection and a reply that does not come in time are tried
again, after what the server's Retry-After says, else after 1, 2, 4 ... s with jitter. Sounds go as 16-bit WAV, base64.

Source: OpenAI's API reference (chat completions, input_audio parts).
"""

import base64
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from threading import Lock
from typing import Any

import soundfile

from ...engine.audio import Waveform
from ...errors import BackendError
from .captioner import NoReply, Request

# The endpoint itself is at fault, or we are: no other request will fare better.
_HOPELESS = (401, 403, 404)
_LONGEST_WAIT_S = 60.0
SAMPLE_RATE_HZ = 16_000


class EndpointCaptioner:
    """Answers requests by HTTP, several at a time.

    Args:
        url: up to and without /chat/completions, as "http://localhost:8000/v1".
        model: as the endpoint names it.
        api_key: None: that of the environment variable OPENAI_API_KEY, if it is set.
        hears: whether the model takes sounds.
        timeout_s: for one try, connecting included.
        max_tries: of one request.
        requests_per_minute: at most; None: as fast as replies come.
        num_threads: requests under way at a time.
        first_wait_s: before the second try; doubled each time.
        max_tokens_field: "max_tokens", or "max_completion_tokens" where the endpoint wants that.

    Raises:
        BackendError: httpx is not installed.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        hears: bool = True,
        timeout_s: float = 120.0,
        max_tries: int = 5,
        requests_per_minute: float | None = None,
        num_threads: int = 4,
        first_wait_s: float = 1.0,
        max_tokens_field: str = "max_tokens",
    ) -> None:
        try:
            import httpx
        except ImportError:
            raise BackendError("captions by an endpoint want httpx; pip install 'harken[captions]'") from None
        self.url, self.model, self._hears = url.rstrip("/"), model, hears
        self.max_tries, self.num_threads, self.first_wait_s = max_tries, num_threads, first_wait_s
        self.max_tokens_field = max_tokens_field
        self._interval_s = 0.0 if requests_per_minute is None else 60.0 / requests_per_minute
        self._next_s, self._lock = 0.0, Lock()
        key = api_key if api_key is not None else os.environ.get("OPENAI_API_KEY")
        headers = {} if not key else {"Authorization": f"Bearer {key}"}
        self._client = httpx.Client(headers=headers, timeout=timeout_s)
        self._lost = (httpx.TransportError,)

    @property
    def name(self) -> str:
        return f"{self.url} {self.model}"

    @property
    def hears(self) -> bool:
        return self._hears

    @property
    def sample_rate_hz(self) -> int:
        return SAMPLE_RATE_HZ

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def replies(self, requests: Sequence[Request]) -> list[str | NoReply]:
        """A reply or its lack for each request, in order.

        Raises:
            BackendError: the endpoint cannot be reached, or answers 401, 403 or 404.
        """
        with ThreadPoolExecutor(self.num_threads) as threads:
            futures = [threads.submit(self._reply, request) for request in requests]
            try:
                return [future.result() for future in futures]
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _reply(self, request: Request) -> str | NoReply:
        body = self._body(request)
        trouble = ""
        for attempt in range(self.max_tries):
            self._wait_for_turn()
            try:
                response = self._client.post(f"{self.url}/chat/completions", json=body)
            except self._lost as error:
                trouble, wait_s = f"{type(error).__name__}: {error}", None
            else:
                if response.status_code == 200:
                    return _content(response)
                trouble = f"status {response.status_code}: {response.text[:200]}"
                if response.status_code in _HOPELESS:
                    raise BackendError(f"{self.name}: {trouble}")
                if response.status_code not in (408, 409, 429) and response.status_code < 500:
                    return NoReply(f"{request.name}: {trouble}")
                wait_s = _retry_after_s(response.headers.get("Retry-After"))
            if attempt + 1 < self.max_tries:
                back_off_s = self.first_wait_s * 2**attempt * random.uniform(0.75, 1.25)
                time.sleep(min(back_off_s if wait_s is None else wait_s, _LONGEST_WAIT_S))
        if not trouble.startswith("status"):
            raise BackendError(f"{self.url}: does not answer after {self.max_tries} tries: {trouble}")
        return NoReply(f"{request.name}: after {self.max_tries} tries {trouble}")

    def _wait_for_turn(self) -> None:
        """Requests leave at least an interval apart, whichever thread sends them."""
        with self._lock:
            now_s = time.monotonic()
            turn_s = max(now_s, self._next_s)
            self._next_s = turn_s + self._interval_s
        time.sleep(max(0.0, turn_s - now_s))

    def _body(self, request: Request) -> dict[str, Any]:
        messages: list[dict[str, Any]] = [{"role": "system", "content": request.system}]
        for user, assistant in request.examples:
            messages += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
        content: Any = request.text
        if request.audio is not None:
            sound = {"data": base64.b64encode(wav_bytes(request.audio)).decode(), "format": "wav"}
            content = [{"type": "input_audio", "input_audio": sound}, {"type": "text", "text": request.text}]
        return {
            "model": self.model,
            "messages": [*messages, {"role": "user", "content": content}],
            self.max_tokens_field: request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
        }


def _content(response: Any) -> str | NoReply:
    try:
        choice = response.json()["choices"][0]
        text = choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        return NoReply(f"reply is no chat completion: {response.text[:200]!r}")
    if not isinstance(text, str) or not text.strip():
        return NoReply(f"reply is empty; it ended by {choice.get('finish_reason')!r}")
    return text


def _retry_after_s(value: str | None) -> float | None:
    """Seconds of a Retry-After header; dates and nonsense count as none."""
    try:
        seconds = float(value) if value is not None else -1.0
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def wav_bytes(wave: Waveform) -> bytes:
    """A 16-bit WAV file of a sound."""
    out = BytesIO()
    soundfile.write(out, wave.samples, wave.sample_rate_hz, format="WAV", subtype="PCM_16")
    return out.getvalue()
