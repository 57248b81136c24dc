"""Benchmarks: `python -m tests.bench` measures and writes docs/benchmarks.md. No timed tests."""
