"""Regular expressions of users, in time that is linear in the text."""
