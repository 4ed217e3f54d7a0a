"""URLs: which host they lead to, and whether that may be reached."""
