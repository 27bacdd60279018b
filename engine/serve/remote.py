"""Sounds by URL, for the hosts that the server was told to trust and no other.

A name is looked up once, every address it has must be a public one, and the connection goes to the address that was
checked. Each redirect is held to the same rules.

Source: own.
"""

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable
from urllib.parse import urljoin, urlsplit

import httpx

from ...errors import InputError

MAX_REDIRECTS = 3


class Remote:
    """Reads URLs.

    Args:
        hosts: names that may be read from; none: every URL is refused.
        max_bytes: of one file.
        timeout_s: for one file, from the first look-up to the last byte.
        is_allowed: whether an address may be talked to; the default takes public ones alone.
    """

    def __init__(
        self,
        hosts: Iterable[str] = (),
        *,
        max_bytes: int = 32 << 20,
        timeout_s: float = 20.0,
        is_allowed: Callable[[str], bool] = lambda address: ipaddress.ip_address(address).is_global,
    ) -> None:
        self.hosts = frozenset(host.lower() for host in hosts)
        self._max_bytes, self._timeout_s, self._is_allowed = max_bytes, timeout_s, is_allowed

    def read(self, url: str, name: str) -> bytes:
        """The file at a URL.

        Raises:
            InputError: the URL is not allowed, or the file is too large, too slow or not there; `name` begins the text.
        """
        end_s = time.monotonic() + self._timeout_s
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._get(url, name, end_s)
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
        raise InputError(f"{name}: more than {MAX_REDIRECTS} redirects")

    def _get(self, url: str, name: str, end_s: float) -> bytes | str:
        """The file, or where the server sends us."""
        host, pinned = self._pinned(url, name)
        try:
            with (
                httpx.Client(trust_env=False, timeout=max(0.1, end_s - time.monotonic())) as client,
                client.stream(
                    "GET", pinned, headers={"Host": urlsplit(url).netloc}, extensions={"sni_hostname": host}
                ) as response,
            ):
                if response.is_redirect:
                    return response.headers["location"]
                if response.status_code != 200:
                    raise InputError(f"{name}: {host} answered {response.status_code}; wanted 200")
                return self._body(response, name, end_s)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise InputError(f"{name}: cannot be read from {host}: {type(error).__name__}") from None

    def _body(self, response: httpx.Response, name: str, end_s: float) -> bytes:
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > self._max_bytes:
                raise InputError(f"{name}: is larger than the {self._max_bytes} bytes allowed")
            if time.monotonic() > end_s:
                raise InputError(f"{name}: took longer than the {self._timeout_s:g} s allowed")
        return bytes(body)

    def _pinned(self, url: str, name: str) -> tuple[str, str]:
        """The host, and the URL with the host's address in its place."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise InputError(f"{name}: is not a URL that can be read") from None
        if parts.scheme not in ("http", "https") or host not in self.hosts:
            allowed = f"http and https from {', '.join(sorted(self.hosts))}" if self.hosts else "data URLs alone"
            raise InputError(f"{name}: this server does not read from that URL; it reads {allowed}")
        try:
            found = socket.getaddrinfo(host, port or (443 if parts.scheme == "https" else 80), type=socket.SOCK_STREAM)
        except OSError:
            raise InputError(f"{name}: {host} is not known") from None
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not all(self._is_allowed(address) for address in addresses):
            raise InputError(f"{name}: {host} has an address that is not public; this server does not read from it")
        address = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
        where = address if port is None else f"{address}:{port}"
        return host, parts._replace(netloc=where).geturl()
