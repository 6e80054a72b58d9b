"""The playground: a small network in a browser, which can be watched while it learns.

settings: what the address says; data: points and their features; session: one network in training;
code: the same in Python; server: HTTP on this machine alone; page/: what the browser shows.
"""
