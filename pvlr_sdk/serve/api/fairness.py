"""Who waits and who is turned away when more images arrive than can be tagged."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

Client = Hashable


@dataclass(eq=False, slots=True)
class Upload:
    """A request with an image: whose it is, how many bytes of it have arrived, and how to turn it away."""

    client: Client
    turn_away: Callable[[], None]
    held: int = field(default=0, init=False)


class Buffered:
    """Limits the bytes of all uploads together. Beyond it, the client that holds the most loses an upload.

    Slow uploads hold what has arrived, not a place: any number of them keeps nobody out.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._total = 0
        self._uploads: dict[Upload, None] = {}

    def enter(self, upload: Upload) -> None:
        """Count an upload from now on."""
        self._uploads[upload] = None

    def leave(self, upload: Upload) -> None:
        """Count it no longer."""
        if upload in self._uploads:
            del self._uploads[upload]
            self._total -= upload.held

    def grow(self, upload: Upload, count: int) -> None:
        """``count`` bytes have arrived; turns away an upload, perhaps this one, if that is too much."""
        upload.held += count
        self._total += count
        if self._total <= self._most:
            return
        held: dict[Client, int] = {}
        for one in self._uploads:
            held[one.client] = held.get(one.client, 0) + one.held
        largest = max(held, key=held.__getitem__)
        victim = max((one for one in self._uploads if one.client == largest), key=lambda one: one.held)
        self.leave(victim)
        victim.turn_away()


class FairQueue:
    """Uploads that wait for a worker. Clients take turns, so that one with many delays one with few by one image.

    A full queue turns away the newest upload of the client with the most.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[Client, deque[Upload]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, upload: Upload, most: int) -> None:
        """Add an upload; if more than ``most`` wait then, turn one away, perhaps this one."""
        own = self._waiting.setdefault(upload.client, deque())
        own.append(upload)
        self._count += 1
        if self._count > most:
            largest = max(self._waiting.values(), key=lambda uploads: (len(uploads), uploads is own))
            victim = largest[-1]
            self.discard(victim)
            victim.turn_away()

    def take(self) -> Upload | None:
        """The oldest upload of the next client in turn; None: none waits."""
        if not self._waiting:
            return None
        client, uploads = next(iter(self._waiting.items()))
        upload = uploads.popleft()
        self._count -= 1
        self._waiting.move_to_end(client)
        if not uploads:
            del self._waiting[client]
        return upload

    def discard(self, upload: Upload) -> None:
        """Remove an upload that no longer waits for its turn."""
        uploads = self._waiting.get(upload.client)
        if uploads is not None and upload in uploads:
            uploads.remove(upload)
            self._count -= 1
            if not uploads:
                del self._waiting[upload.client]
