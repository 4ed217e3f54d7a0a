"""Tools that the kernel confines; validators, and secrets."""
