"""What is wrong with the settings before a start: everything at once, with how to mend it.

Needs no torch, and looks at the disk, never at the network.
"""
