"""A client of `impasto serve`, over HTTP or gRPC, for threads and for asyncio.

    from impasto.client import Client

    with Client("http://127.0.0.1:8000") as client:
        client.stylize("photo.jpg", "painting.jpg", quality="draft").save("out.png")

`grpc://127.0.0.1:50051` speaks gRPC instead; `https://` and `grpcs://` are the same with TLS. What the service raises
is raised here, as the same class. Importing this package loads neither torch nor a transport; the extra is `client`.
"""

from impasto.client._async import AsyncClient
from impasto.client._sync import Client
from impasto.client._values import Event, Frame, Job, Method, Page, Painting, ResultInfo, Style, UnreachableError

__all__ = [
    "AsyncClient",
    "Client",
    "Event",
    "Frame",
    "Job",
    "Method",
    "Page",
    "Painting",
    "ResultInfo",
    "Style",
    "UnreachableError",
]
