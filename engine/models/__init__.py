"""The base models: loading them from any source, conditioning and calling them."""
