"""Secrets in one encrypted file."""
