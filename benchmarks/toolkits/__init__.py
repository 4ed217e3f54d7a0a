"""One module a framework whose overhead is measured, named after it; all imported lazily.

A module offers ``DISTRIBUTIONS`` and ``cases(setup)``; see
:mod:`benchmarks.toolkits.base`.
"""
