"""Blobs and manifests into a repository, tried until they are there or it is hopeless. What is there is skipped.

Knows no model, and no byte of a blob: how one gets across is `sending`'s.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import quote

from registry.digests import digest_of
from registry.errors import Cancelled, Corrupt, HashMismatch, Unreachable
from registry.manifest import MANIFEST_TYPE
from registry.oci.client import RegistryClient
from registry.oci.sending import Blob, Later, Refused, Sending, failure
from registry.progress import Cancel

PART: Final = 64 << 20
"""Bytes of a blob that one request carries at most; a blob that is no larger goes in one."""

_LONGEST_WAIT = 300.0  # seconds; a registry that wants more is as good as down
_SLICE = 0.1
_T = TypeVar("_T")


class Uploader:
    """Uploads into the repository of a client that may write. Safe to use from several threads.

    `waits` are seconds between tries while nothing gets through; a registry that names a time is given it.
    """

    def __init__(self, client: RegistryClient, waits: tuple[float, ...], part: int = PART) -> None:
        self._client = client
        self._waits = waits
        self._part = part

    def greet(self, tag: str) -> None:
        """Ask for a tag once, so that a registry that isn't there, or doesn't let us, is known before anything is sent.

        Raises Denied or Unreachable.
        """
        target = f"/v2/{self._client.repository}/manifests/{quote(tag)}"
        with self._client.send("HEAD", target, headers={"Accept": MANIFEST_TYPE}) as answer:
            if answer.status_code in (401, 403):
                raise failure(self._client, answer, self._client.shown)

    def bring(self, blob: Blob, arrived: Callable[[int], None], cancelled: Cancel) -> bool:
        """Make sure that a blob is there; whether it had to be sent. `arrived` is told how many bytes have been.

        Raises Corrupt where its bytes are wrong, Denied, Unreachable, Cancelled or a StorageFault.
        """
        sending = Sending(self._client, blob, arrived, cancelled, self._part)
        try:
            sent = not self._again(sending.is_there, cancelled) and self._again(sending.run, cancelled, sending)
        except (Corrupt, Cancelled):
            sending.forget()
            raise
        except Unreachable as error:
            if str(blob.digest) in str(error):
                raise
            raise Unreachable(f"{self._client.shown}@{blob.digest}: {error}") from error
        finally:
            sending.close()
        if sent:
            arrived(blob.size)
        return sent

    def name(self, tag: str, manifest: bytes, cancelled: Cancel) -> None:
        """Put a manifest under a tag, and make sure that the registry gives the same one back.

        Raises HashMismatch, Denied, Unreachable or Cancelled.
        """
        shown = f"{self._client.shown}:{tag}"
        target = f"/v2/{self._client.repository}/manifests/{quote(tag)}"

        def put() -> None:
            with self._client.send("PUT", target, headers={"Content-Type": MANIFEST_TYPE}, content=manifest) as answer:
                if answer.status_code not in (200, 201, 202):
                    raise failure(self._client, answer, shown)

        self._again(put, cancelled)
        wanted = digest_of(manifest)
        found = self._again(lambda: self._client.manifest(tag)[2], cancelled)
        if found != wanted:
            raise HashMismatch(f"{shown} with manifest {wanted}", f"another one ({found})", None)

    def _again(self, act: Callable[[], _T], cancelled: Cancel, sending: Sending | None = None) -> _T:
        """Do it until it works or `waits` are used up. Bytes that never got so far before start them anew."""
        tries = 0
        best = 0
        while True:
            try:
                return act()
            except Refused as error:
                if sending is None or not sending.adapt(error.status):
                    raise
            except Unreachable as error:
                sent = sending.sent if sending is not None else 0
                tries = 1 if sent > best else tries + 1
                best = max(best, sent)
                if tries > len(self._waits):
                    raise
                # Of many that were cut off together, no two come back together.
                seconds = self._waits[tries - 1] * random.uniform(0.75, 1.25)
                asked = error.seconds if isinstance(error, Later) else 0.0
                if asked > _LONGEST_WAIT:
                    raise
                _pause(max(seconds, asked), cancelled)


def _pause(seconds: float, cancelled: Cancel) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if cancelled():
            raise Cancelled("cancelled while waiting to try again; blobs that have arrived stay there")
        time.sleep(min(left, _SLICE))
