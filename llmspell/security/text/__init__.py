"""Text from elsewhere: what can't be seen in it, what looks like something else, and contexts."""
