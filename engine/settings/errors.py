"""What goes wrong with settings files."""

from __future__ import annotations


class SettingsFileError(ValueError):
    """A file cannot be read or written as settings; the message is one sentence for people."""
