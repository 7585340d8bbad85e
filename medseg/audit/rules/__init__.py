"""The rules of a check, one file a subject; each is stated in ``docs/checking.md``."""
