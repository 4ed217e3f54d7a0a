"""One module a store whose durable inserts are measured, named after it; all imported lazily.

A module offers ``DISTRIBUTION``, ``DURABLE``, ``VARIANTS`` and ``make(setup, variant)``; see
:mod:`benchmarks.stores.base`.
"""
