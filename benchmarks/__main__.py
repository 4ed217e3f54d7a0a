"""Command line: ``python -m benchmarks BENCHMARK``, each of them with ``--help``."""

from __future__ import annotations

import argparse

from benchmarks import (
    broker,
    bulk,
    cache,
    calibration,
    dictionaries,
    durable,
    filtered,
    frameworks,
    imports,
    ingest,
    ledger,
    recall,
    retrieval,
    sandbox,
    stream,
    tenant,
    tenants,
)

_BENCHMARKS = {
    "recall": recall,
    "calibration": calibration,
    "filter": filtered,
    "stream": stream,
    "tenant": tenant,
    "tenants": tenants,
    "durable": durable,
    "ledger": ledger,
    "broker": broker,
    "cache": cache,
    "sandbox": sandbox,
    "import": imports,
    "ingest": ingest,
    "bulk": bulk,
    "dictionaries": dictionaries,
    "retrieval": retrieval,
    "frameworks": frameworks,
}


def main() -> None:
    """Parse the command line and run one benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="BENCHMARK")
    for name, module in _BENCHMARKS.items():
        command = commands.add_parser(name, help=module.__doc__, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(main=module.main)
    options = parser.parse_args()
    options.main(options)


if __name__ == "__main__":
    main()
