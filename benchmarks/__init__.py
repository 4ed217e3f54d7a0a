"""Benchmark programs: each prints what it ran on and writes JSON; ``report`` alone draws.

Run ``python -m benchmarks --help`` from the root of the repository. benchmarks/README.md says
what each program measures and how to read it.
"""
