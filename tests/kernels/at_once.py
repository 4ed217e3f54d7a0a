"""For pytest: says why a test failed when it does, for a machine may be ended before the last."""

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        print(f"\n{report.nodeid} ({report.when}, {report.duration:.1f} s)\n{report.longreprtext}")
