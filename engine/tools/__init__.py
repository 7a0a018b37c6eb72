"""Utilities: one file a job."""
