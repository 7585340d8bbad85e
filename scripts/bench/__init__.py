"""What ``bench_inference.py`` is made of: a scan, one network in three programs' forms, runs, a table."""
