"""Files beneath given directories, and paths that are checked before."""
