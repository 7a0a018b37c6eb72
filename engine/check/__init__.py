"""What is wrong with the settings before a start: everything at once, with how to mend it.

Needs no torch, and looks at the disk; the hub is asked, for some seconds at most, about models that are not here.
"""
