"""The solidarité à la source prefill simulation service: domain, law, engine, stores and gRPC server."""
