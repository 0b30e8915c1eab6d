"""The set-based SQL of the engine: its one home, and the only place that writes a status.

Every function takes a cursor first and leaves committing to its caller. Times are the database's clock; what comes
from outside is turned into JSON by `dist_task.payload.dumps`, so that jsonb takes it.
"""
