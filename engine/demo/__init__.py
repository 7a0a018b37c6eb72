"""The built-in pocket model, its pictures of a new concept, and the scripts that made both."""
