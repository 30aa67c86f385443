"""A DICOMweb server: search for instances, fetch them, store new ones."""

import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from dicomweb_client.web import DICOMwebClient
from requests import RequestException

from keras_efsnet.clinic.instances import Instance, check_uid, read_instance
from keras_efsnet.clinic.multipart import EndsEarly, first_part
from keras_efsnet.clinic.session import (
    TIMEOUTS,
    Refused,
    ServerError,
    check_url,
    no_dicomweb,
    one_line,
    open_session,
)
from keras_efsnet.files import naming
from keras_efsnet.images.dicom import muted

if TYPE_CHECKING:
    from pydicom import Dataset

_CHUNK = 2**20
_DICOM = "application/dicom"
_ANY_SYNTAX = f'multipart/related; type="{_DICOM}"; transfer-syntax=*'


class Server:
    """A connection to a DICOMweb service.

    Args:
        url: its address. Credentials are those of `session.open_session`.

    Raises:
        ValueError: the address or the credentials cannot be used.
    """

    def __init__(self, url: str) -> None:
        self.url = check_url(url)
        self._session = open_session(self.url)
        # Lets a server choose how it answers a request to store.
        self._session.headers["Accept"] = "application/dicom+json"
        self._client = DICOMwebClient(
            self.url, self._session, permissive_uid=True, timeout=TIMEOUTS
        )
        # dicomweb-client would also repeat a request to store; our session does not.
        self._client.set_http_retry_params(retry=False)
        # It would leave the port out of the Host header.
        self._client.host = urlsplit(self.url).netloc

    def list_instances(self, study: str, series: str | None = None) -> list[Instance]:
        """Lists a study, or a series of it, by series and Instance Number.

        Raises:
            ServerError: the server does not answer, refuses, or has no such study.
            ValueError: a UID is none.
        """
        check_uid(study, "--study")
        if series is not None:
            check_uid(series, "--series")
        found: dict[str, Instance] = {}
        while True:  # a server may limit the results of a search
            page = self._search(study, series, offset=len(found))
            new = {instance.uid: instance for instance in page} | found
            if len(new) == len(found):
                break
            found = new
        if not found:
            what = f"study {study}" if series is None else f"series {series} of {study}"
            raise ServerError(
                f"{self.url}: no {what} on this server, or none that the account may "
                "see; check the UID."
            )
        return sorted(found.values(), key=Instance.place)

    def has(self, study: str, uid: str) -> bool:
        """Returns whether a study holds an instance.

        Raises:
            ServerError: as in `list_instances`.
        """
        found = self._search(study, search_filters={"SOPInstanceUID": uid})
        return any(instance.uid == uid for instance in found)

    def _search(
        self, study: str, series: str | None = None, **options: Any
    ) -> list[Instance]:
        with one_line(self.url, "search for images"):
            items = self._client.search_for_instances(
                study, series, fields=["Modality", "InstanceNumber"], **options
            )
        try:
            return [read_instance(study, item) for item in items]
        except (AttributeError, LookupError, TypeError, ValueError):
            reason = no_dicomweb("it did not send a list of instances")
            raise ServerError(f"{self.url}: {reason}") from None

    def fetch(self, instance: Instance, file: BinaryIO) -> None:
        """Writes an instance as it is stored, in pieces of 1 MiB, and rewinds the file.

        Raises:
            ServerError: the server does not answer, or refuses.
            ValueError: the server cannot send this instance.
            OSError: the disk is full.
        """
        for uid in (instance.series, instance.uid):
            check_uid(uid, f"{instance.uid}: each UID")
        url = (
            f"{self.url}/studies/{instance.study}/series/{instance.series}"
            f"/instances/{instance.uid}"
        )
        try:
            with one_line(self.url, "send an image"):
                self._download(url, file)
        except EndsEarly:
            raise ValueError(
                f"{instance.uid}: the server did not send all of it; run the command "
                "again."
            ) from None
        except Refused as refused:
            if refused.status in (401, 403):
                raise
            raise ValueError(
                f"{instance.uid}: the server cannot send it (HTTP {refused.status}); "
                "see its log."
            ) from None
        file.seek(0)

    def _download(self, url: str, file: BinaryIO) -> None:
        headers = {"Accept": _ANY_SYNTAX}
        options: Any = {"headers": headers, "stream": True, "timeout": TIMEOUTS}
        with self._session.get(url, **options) as response:
            response.raise_for_status()
            kind = Message()
            kind["Content-Type"] = response.headers.get("Content-Type", "text/plain")
            chunks = response.iter_content(_CHUNK)
            boundary = kind.get_boundary()
            if kind.get_content_type() not in ("multipart/related", _DICOM):
                sent = no_dicomweb(f"it sent {kind.get_content_type()}")
                raise ServerError(f"{self.url}: {sent}")
            if boundary:  # some servers send the part by itself
                chunks = first_part(chunks, boundary)
            for chunk in chunks:
                with naming(Path(tempfile.gettempdir())):
                    file.write(chunk)

    def store(self, source: Instance, results: "Sequence[Dataset]") -> None:
        """Stores the results of an instance in one request, which is never repeated.

        Ctrl-C takes effect after the request, so that it is not cut off.

        Raises:
            ServerError: the server does not answer, or refuses.
            ValueError: the server did not take all of them.
        """
        try:
            with one_line(self.url, "store results"), _uninterrupted(), muted():
                answer = self._post(source.study, results)
        except Refused as refused:
            if refused.status not in (400, 409, 413, 422):
                raise
            raise ValueError(_not_stored(source, f"HTTP {refused.status}")) from None
        confirmed = _list_uids(answer, "ReferencedSOPSequence")
        failed = _list_uids(answer, "FailedSOPSequence")
        for result in results:
            uid = result.SOPInstanceUID
            if uid in failed:
                raise ValueError(_not_stored(source, f"failure reason {failed[uid]}"))
            if uid not in confirmed and not self.has(source.study, uid):
                raise ValueError(_not_stored(source, f"no {result.Modality} is there"))

    def _post(self, study: str, results: "Sequence[Dataset]") -> "Dataset":
        from pydicom import Dataset

        try:
            return self._client.store_instances(results, study)
        except RequestException:
            raise
        # pydicom raises any on an answer that is no DICOM; a search will tell.
        except Exception:
            return Dataset()


def _list_uids(answer: "Dataset", sequence: str) -> dict[str, str]:
    """Returns the instances in a sequence of an answer, with a reason for each."""
    found = {}
    for item in answer.get(sequence) or ():
        reason = f"{item.get('FailureReason') or 0:#06x}"
        found[str(item.get("ReferencedSOPInstanceUID"))] = reason
    return found


def _not_stored(source: Instance, reason: str) -> str:
    return (
        f"{source.uid}: the server did not store all results ({reason}); see its log, "
        "and run the command again."
    )


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Lets Ctrl-C wait for the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = []
    handler = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if pressed and callable(handler):
            handler(signal.SIGINT, None)
