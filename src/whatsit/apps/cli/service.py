"""The command that serves models to programs: serve."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from whatsit.apps.cli.options import Runtime
from whatsit.apps.cli.starting import until_stopped
from whatsit.apps.terminal import err
from whatsit.errors import needing


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help=".whatsit files or run folders, each also as NAME=MODEL, or folders of them."
        ),
    ],
    host: Annotated[
        str | None,
        typer.Option(
            help="The address to serve on; 127.0.0.1, this computer only, by default; 0.0.0.0 for every IPv4 address, "
            ":: for IPv6 too."
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="8000 or the next free one by default.")] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="A file of keys, one a line, of which every request must bring one.")
    ] = None,
    admin_token_file: Annotated[
        Path | None, typer.Option(help="A file with the token for loading and unloading models.")
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="A site whose pages may ask, such as https://shop.example; repeatable."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name under which the service may be asked, such as pets.example or *.example; repeatable. Without it a "
            "service for this computer only takes this computer's names and addresses, and any other takes all.",
        ),
    ] = None,
    root_path: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="The path below which a proxy serves it, such as /pets, whether the proxy takes it away or hands it on.",
        ),
    ] = None,
    max_batch: Annotated[
        int | None, typer.Option(min=1, max=256, help="Pictures answered together; measured at the start by default.")
    ] = None,
    max_delay: Annotated[
        float, typer.Option(min=0, max=1000, help="Milliseconds that a picture waits for company.")
    ] = 0.0,
    queue: Annotated[
        int, typer.Option(min=1, max=100_000, help="Pictures of a model that may wait; more get 429.")
    ] = 128,
    max_body: Annotated[int, typer.Option(min=1, max=1024, help="Megabytes of a request.")] = 64,
    max_pictures: Annotated[int, typer.Option(min=1, max=10_000, help="Pictures in one request.")] = 256,
    deadline: Annotated[
        float, typer.Option(min=0.01, max=3600, help="Seconds in which a request is answered, else 504.")
    ] = 30.0,
    grace: Annotated[float, typer.Option(min=1, max=3600, help="Seconds for accepted requests after SIGTERM.")] = 10.0,
    runtime: Runtime = "auto",
) -> None:
    """Serve models to programs over HTTP.

    REST with batches, and the Open Inference Protocol of KServe and Triton.
    """
    with needing("the service", "serve"):
        from whatsit.apps.api.keys import read_keys
        from whatsit.apps.api.names import read_allowed, read_root_path
        from whatsit.apps.api.server import serve
        from whatsit.apps.api.settings import MEGABYTE, Settings
    settings = Settings(
        max_body=max_body * MEGABYTE,
        max_memory=max(8 * max_body, 512) * MEGABYTE,
        max_pictures=max_pictures,
        deadline=deadline,
        grace=grace,
        queue=queue,
        max_batch=max_batch,
        max_delay=max_delay / 1000,
        keys=read_keys(api_key_file) if api_key_file else (),
        admin_token=read_keys(admin_token_file)[0] if admin_token_file else None,
        origins=tuple(cors or ()),
        allowed_hosts=read_allowed(allow_host or ()),
        root_path=read_root_path(root_path),
    )
    with until_stopped("The service"):
        serve(models, host=host, port=port, settings=settings, runtime=runtime, say=err)
    if any(thread.name.startswith("decode") for thread in threading.enumerate()):
        sys.stderr.flush()
        os._exit(0)  # a picture that is being decoded cannot be stopped, and Python would wait for it
