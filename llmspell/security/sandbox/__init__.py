"""Tools that run in processes which the kernel confines."""
