"""What runs in the fork server and the processes that come of it: no thread, nothing heavy."""
