"""Hostile bytes for the decoders: ``python -m tests.rows.fuzz TARGET [SECONDS] [SEED]``.

With atheris installed the bytes are led by coverage, else they are mutations of what is in ``corpus/``. What
made a target fail once is kept there; the default tests replay all of it.
"""
