"""A server that answers anything with nothing: what is left is the cost of the generator.

python -m loadtests.noop     prints its address, serves until it is stopped
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

STREAMS = ("StreamResourceRecords", "StreamEntitlements")


class _Anything(grpc.GenericRpcHandler):
    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method.rpartition("/")[2] in STREAMS:
            return grpc.stream_stream_rpc_method_handler(_each)
        return grpc.unary_unary_rpc_method_handler(_one)


async def _one(request: bytes, context: Any) -> bytes:
    return b""


async def _each(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for _ in requests:
        yield b""


async def serve() -> None:
    """Serve on a free port of the loopback."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Anything(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve())
