"""HTTP without a proxy: for servers of this machine, and for those that are reached directly, like Redis.

HTTP_PROXY, HTTPS_PROXY and ALL_PROXY name a proxy for other machines. A proxy can't reach this machine's loopback
interface: for the proxy, `127.0.0.1` is the proxy itself.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:  # importing them would slow each start of a trial
    from http.client import HTTPResponse
    from urllib.request import Request


def open_directly(request: str | Request, timeout: float) -> HTTPResponse:
    """The answer to an HTTP request that goes directly to its server, even if the environment names a proxy.

    Raises:
        OSError: there is no answer within `timeout` seconds, or the answer is an error (`urllib.error.HTTPError`).
    """
    from urllib.request import ProxyHandler, build_opener

    answer: HTTPResponse = build_opener(ProxyHandler({})).open(request, timeout=timeout)
    return answer


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine's loopback interface: 127.0.0.0/8, ::1 or localhost."""
    host = (urlsplit(url if "://" in url else f"//{url}").hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
