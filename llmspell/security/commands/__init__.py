"""Programs that may be run, with arguments that rules allow, and never by a shell."""
