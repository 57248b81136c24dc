"""Which addresses a channel may have its callbacks sent to.

Looked at here is what the address itself says; what its name resolves to is looked at again when
something is sent there, because that can change in between.
"""

import ipaddress

from pydantic import HttpUrl

_PRIVATE_ENDINGS = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".intranet", ".corp")


def callback_trouble(url: HttpUrl, allow_private: bool) -> str | None:
    """Return in Chinese what is wrong with a callback address, or None.

    `HttpUrl` has brought the host into one spelling already: `0x7f.1` stands as `127.0.0.1`.
    """
    if url.username or url.password:
        return "网址中不应包含用户名或密码"
    if url.fragment:
        return "网址中不应包含 # 之后的部分"
    if not allow_private and _is_private((url.host or "").strip("[]").rstrip(".")):
        return "不能是内网或本机地址"
    return None


def _is_private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or f".{host}".endswith(_PRIVATE_ENDINGS)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            address = inner
    return not address.is_global or address.is_multicast
