"""The page: a form drawn from the settings, and a view of the runs.  Never imports torch."""
