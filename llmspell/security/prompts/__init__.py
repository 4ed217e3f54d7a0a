"""Signs that a text tries to instruct the model that only was to read it."""
