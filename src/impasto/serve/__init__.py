"""Impasto as a service: jobs in, pictures out, over HTTP and gRPC. Importing this package loads no torch."""
