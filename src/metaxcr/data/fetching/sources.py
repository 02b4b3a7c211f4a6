"""Where a file comes from, and what is said when it does not come."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from urllib.error import HTTPError
from urllib.parse import urlsplit

from metaxcr.errors import UserError

ELSEWHERE = (
    "fetch on another machine ('metaxcr tasks fetch ID --to DIR') and give the copied folder as --data"
)
BY_HAND = "download by hand from {} and give the folder as --data"
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class DownloadSource:
    """Where a file comes from.

    Attributes:
        address: http or https.
        page: Where a person reads on.
        commit: On the hub, the commit that the address names.
        headers: To be sent along; may hold a token, so they are shown nowhere.
        hub: Whether it lies on the Hugging Face hub.
    """

    address: str
    page: str
    commit: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    hub: bool = False


def unreachable(host: str, error: object) -> UserError:
    """Return the message for a host that does not answer.

    Args:
        host: Its name.
        error: What the network said.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        fix = "set SSL_CERT_FILE to the file of your certificates"
        return UserError(f"the certificate of {host} cannot be verified", None, fix)
    return UserError(f"cannot reach {host}: {reason(error)}", None, f"check the network, or {ELSEWHERE}")


def not_allowed(source: DownloadSource, status: int) -> UserError:
    """Return the message for a file that needs permission."""
    if source.hub:
        fix = f"accept the terms on {source.page} if it has some, and set HF_TOKEN to your token"
        return UserError(f"access denied: gated data set ({status})", None, fix)
    what = f"{urlsplit(source.address).netloc} refuses ({status})"
    return UserError(what, source.address, BY_HAND.format(source.page))


def refused(error: HTTPError, source: DownloadSource) -> UserError | None:
    """Return the message for an answer that is a refusal; None if another attempt may help."""
    if error.code in TRANSIENT:
        return None
    if error.code in (401, 403):
        return not_allowed(source, error.code)
    if error.code in (404, 410):
        return UserError(f"there is no such file ({error.code})", source.address, f"see {source.page}")
    said = " ".join(str(error.reason).split())
    return UserError(f"the server says {error.code} {said}", source.address, f"see {source.page}")


def check_kind(headers: Message, source: DownloadSource) -> None:
    """Refuse a compressed answer: what was asked for is the file as it is."""
    encoding = headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("", "identity"):
        raise UserError(f"the server sends the file as {encoding}", source.address, f"see {source.page}")


def check_page(first: bytes, headers: Message, source: DownloadSource) -> None:
    """Refuse a web page: a login, a notice, an error that calls itself a success."""
    begin = first.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    called = headers.get_content_type() == "text/html" and begin.startswith(b"<")
    page = begin.startswith((b"<!doctype html", b"<html")) or (called and not begin.startswith(b"<?xml"))
    if page and not source.address.lower().endswith((".html", ".htm")):
        what = "the address gave a web page, not data"
        raise UserError(what, source.address, BY_HAND.format(source.page))


def reason(error: object) -> str:
    """Return what a failure of the network says, on one line."""
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
