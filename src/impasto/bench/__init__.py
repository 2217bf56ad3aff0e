"""Benchmarks, and the plain reference code that they are measured against."""
