"""The gRPC interface: `impasto_v1.proto`, and the messages that `make protos` generates from it."""
