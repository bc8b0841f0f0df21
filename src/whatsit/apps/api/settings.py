"""What the owner of a service can choose."""

from __future__ import annotations

from dataclasses import dataclass, field

from whatsit.process import processors

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """Limits and timings of a service: for everything that a client can make grow."""

    max_body: int = 64 * MEGABYTE  # bytes of a request's body
    max_memory: int = 512 * MEGABYTE  # bytes of all bodies at one time
    max_json: int = 16 * MEGABYTE  # bytes of JSON in a body; larger tensors come as binary data
    max_values: int = 1_500_000  # numbers, texts, lists and objects in that JSON
    max_pixels: int = 50_000_000  # of a picture
    max_pictures: int = 256  # in one request
    max_connections: int = 2000
    arrival: float = 10.0  # seconds in which a request must have arrived
    deadline: float = 30.0  # seconds in which it is answered, else 504
    grace: float = 10.0  # seconds after SIGTERM in which accepted requests may finish
    drain: float = 0.5  # of these, the seconds in which new ones still get an answer (503)
    queue: int = 128  # pictures of a model that wait for their turn
    max_batch: int | None = None  # pictures answered together; None: measured at the start
    max_delay: float = 0.0  # seconds that a picture waits for company
    watch: float = 1.0  # seconds between looks at the files of the models
    decoders: int = field(default_factory=lambda: min(4, processors()))
    keys: tuple[str, ...] = ()  # of which a request must bring one; none: everybody may ask
    admin_token: str | None = None  # for loading and unloading models; None: nobody may
    origins: tuple[str, ...] = ()  # whose pages may ask (CORS)
    host: str | None = None  # what the service is bound to; None: not known
    allowed_hosts: tuple[str, ...] = ()  # the names under which it may be asked, beside its own (see names.py)
    root_path: str = ""  # the path below which a proxy serves it, such as /pets
