"""Mutants of the rules: does a test fail when a rule is changed? `python -m tests.mutation --help`."""
