"""The engine: typed settings in, a stream of events out.  Knows nothing of the page."""

VERSION = "0.1.0"
