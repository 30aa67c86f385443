"""Credentials for a PACS, from the environment or a netrc file."""

import os
from netrc import NetrcParseError

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_netrc_auth

TOKEN = "EFSNET_DICOMWEB_TOKEN"
USER = "EFSNET_DICOMWEB_USER"
PASSWORD = "EFSNET_DICOMWEB_PASSWORD"


class _Token(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def find_credentials(url: str) -> AuthBase | None:
    """Finds the credentials for a server; None if there are none.

    They are `EFSNET_DICOMWEB_TOKEN`, or `EFSNET_DICOMWEB_USER` and
    `EFSNET_DICOMWEB_PASSWORD`, or the netrc file's (`~/.netrc`, or what `NETRC` names).

    Raises:
        ValueError: they are not whole, or contradict each other.
    """
    token, user, password = map(os.environ.get, (TOKEN, USER, PASSWORD))
    if token and (user or password):
        raise ValueError(f"{TOKEN} and {USER} are both set; unset one.")
    if bool(user) != bool(password):
        raise ValueError(f"{USER} and {PASSWORD} belong together; set both or none.")
    if token:
        token = token.strip()
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise ValueError(f"{TOKEN} holds no bearer token; copy it again.")
        return _Token(token)
    if not user or not password:
        user, password = _read_netrc(url) or ("", "")
    # Bytes, as requests would send text as Latin-1.
    return HTTPBasicAuth(user.encode(), password.encode()) if user else None


def _read_netrc(url: str) -> tuple[str, str] | None:
    try:
        return get_netrc_auth(url, raise_errors=True)
    except NetrcParseError as error:  # its message can quote a password
        raise ValueError(
            f"{error.filename}: not a netrc file: correct its line {error.lineno}."
        ) from None
