"""One module a library; each is loaded only in the process that measures it.

A module here defines ``DISTRIBUTION`` (its name on the package index), ``VARIANTS`` (the first
is the default) and ``make(setup, variant)``, which returns a :class:`~benchmarks.peers.base.Peer`.
Adding a library is adding a module.
"""
