"""Embeddable, multi-tenant retrieval and tool runtime."""
