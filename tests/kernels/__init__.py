"""Runs the sandbox on kernels of Debian, each in a virtual machine: `python -m tests.kernels`."""
