"""HTTP sessions for a PACS: retries, and one line for each failure.

What the server writes is not passed on: it can quote a patient's name.
"""

import logging
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests
from requests import exceptions
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ReadTimeoutError
from urllib3.util import Retry

from keras_efsnet.clinic.credentials import PASSWORD, TOKEN, USER, find_credentials

CA_BUNDLE = "REQUESTS_CA_BUNDLE"
"""Environment variable of requests: the file of trusted certificate authorities."""

TIMEOUTS = 10.0, 60.0
"""Seconds to connect, and between two pieces of an answer."""

RETRIES = 3
_BUSY = (429, 502, 503, 504)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LOGGERS = ("dicomweb_client", "retrying", "urllib3")


class ServerError(ValueError):
    """The server cannot be used; another request to it would fail as well."""


class Refused(ServerError):
    """The server answered a request with an error.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def check_url(url: str) -> str:
    """Returns the address of a DICOMweb service without a slash at its end.

    Raises:
        ValueError: it is none, or it holds credentials.
    """
    if "@" in url:
        raise ValueError(
            f"URL must not hold a user name or password: set {USER} and {PASSWORD}, or "
            "use a netrc file."
        )
    url, *rest = re.split("[?#]", url)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if rest or not usable:
        raise ValueError(
            "URL must be that of a DICOMweb service, such as "
            f"https://pacs.example.org/dicom-web, without ? or #, got {url}"
            f"{'...' if rest else ''}."
        )
    return url.rstrip("/")


def open_session(url: str) -> requests.Session:
    """Opens a session with the credentials for a server, if there are any.

    They come from `EFSNET_DICOMWEB_TOKEN`, from `EFSNET_DICOMWEB_USER` and
    `EFSNET_DICOMWEB_PASSWORD`, or from the netrc file. Certificates are verified.
    A connection that was not made is tried again `RETRIES` times. So is a search or a
    retrieval that a busy server refuses, and once if its answer did not come.

    Args:
        url: from `check_url`.

    Raises:
        ValueError: the credentials are not whole, or would travel unencrypted.
    """
    session = requests.Session()
    session.auth = find_credentials(url)
    parts = urlsplit(url)
    if session.auth and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError(
            f"{url}: credentials are not sent unencrypted; give an https:// address."
        )
    # A redirected POST would become a GET, and a login page is no answer.
    session.max_redirects = 0
    retry = Retry(
        total=RETRIES,
        read=1,
        other=0,
        backoff_factor=0.5,
        status_forcelist=_BUSY,
        allowed_methods=("GET",),
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


@contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Hides log lines of the HTTP libraries, which can quote what a server writes."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def one_line(url: str, action: str) -> Iterator[None]:
    """Turns an error of a request into a `ServerError`.

    Args:
        url: of the server.
        action: what the request is for: "search for images" and the like.
    """
    try:
        with _quiet_loggers():
            yield
    except exceptions.HTTPError as error:
        status = error.response.status_code
        raise Refused(f"{url}: {_explain_status(status, action)}", status) from None
    except exceptions.JSONDecodeError:
        raise ServerError(
            f"{url}: {no_dicomweb('it did not send DICOM JSON')}"
        ) from None
    except exceptions.RequestException as error:
        raise ServerError(f"{url}: {_explain(error, url)}") from None


def no_dicomweb(reason: str) -> str:
    """Returns the line for an answer that is not one of DICOMweb."""
    return (
        f"no DICOMweb service answers there ({reason}); give its whole address, such "
        "as https://pacs.example.org/dicom-web."
    )


def _explain_status(status: int, action: str) -> str:
    if status == 401:
        return (
            f"the server refuses to {action} with these credentials (HTTP 401); set "
            f"{USER} and {PASSWORD}, or {TOKEN}, or correct the netrc file."
        )
    if status == 403:
        return (
            f"the account may not {action} (HTTP 403); give it the right to search, "
            "retrieve and store."
        )
    if status in (404, 405, 501):
        return no_dicomweb(f"HTTP {status}, to {action}")
    if status >= 500:
        return (
            f"the server failed to {action} (HTTP {status}); see its log, and run the "
            "command again."
        )
    return f"the server refuses to {action} (HTTP {status}); see its log."


def _explain(error: exceptions.RequestException, url: str) -> str:
    if isinstance(error, exceptions.TooManyRedirects):
        return no_dicomweb("it redirects to another address")
    if isinstance(error, exceptions.SSLError):
        return _explain_tls(error)
    if isinstance(error, exceptions.ProxyError):
        return "the proxy does not answer; correct HTTPS_PROXY, or set NO_PROXY."
    if isinstance(error, exceptions.ConnectTimeout):
        return f"no connection after {TIMEOUTS[0]:.0f} s; check the host and the port."
    if any(isinstance(cause, ReadTimeoutError) for cause in _causes(error)):
        return (
            f"no answer for {TIMEOUTS[1]:.0f} s; run the command again when the server "
            "is less busy."
        )
    reasons = [
        found.strerror
        for found in _causes(error)
        if isinstance(found, OSError) and found.strerror
    ]
    reason = reasons[-1] if reasons else "connection lost"
    host = urlsplit(url).netloc
    return f"no connection to {host} ({reason}); check that the server runs."


def _explain_tls(error: exceptions.SSLError) -> str:
    causes = [cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)]
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"the certificate is not trusted ({cause.verify_message}); set "
                f"{CA_BUNDLE} to a PEM file of the authority that signed it."
            )
    reason = causes[-1].reason if causes else "unknown"
    return f"no TLS connection ({reason}); check the port, and https:// or http://."


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and those that it came from."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        found = waiting.pop()
        if isinstance(found, BaseException) and id(found) not in seen:
            seen.add(id(found))
            yield found
            reason = getattr(found, "reason", None)
            waiting += [*found.args, reason, found.__cause__, found.__context__]
