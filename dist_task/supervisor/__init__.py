"""The supervisor: one small, stdlib-only process that starts everything, keeps it running, and ends it."""
