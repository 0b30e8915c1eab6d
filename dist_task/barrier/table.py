"""The table of the barrier, and the statements on it, for each database.

The key is the primary key on purpose. With a number as primary key and a unique index beside it, InnoDB locks the gap
before a duplicate, and calls of different transactions wait for each other, or deadlock.
"""

from __future__ import annotations

SQL: dict[str, tuple[str, ...]] = {
    "postgresql": (
        """\
CREATE TABLE IF NOT EXISTS dist_task_barrier (
    gid varchar(64) COLLATE "C" NOT NULL,
    branch_id varchar(80) COLLATE "C" NOT NULL,
    op varchar(16) COLLATE "C" NOT NULL,
    barrier_id varchar(64) COLLATE "C" NOT NULL,
    reason varchar(16) NOT NULL,
    answer text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gid, branch_id, op, barrier_id)
)""",
        "CREATE INDEX IF NOT EXISTS dist_task_barrier_created_at ON dist_task_barrier (created_at)",
    ),
    "mysql": (
        """\
CREATE TABLE IF NOT EXISTS dist_task_barrier (
    gid varchar(64) NOT NULL,
    branch_id varchar(80) NOT NULL,
    op varchar(16) NOT NULL,
    barrier_id varchar(64) NOT NULL,
    reason varchar(16) NOT NULL,
    answer mediumtext,
    created_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (gid, branch_id, op, barrier_id),
    INDEX dist_task_barrier_created_at (created_at)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin""",
    ),
    "sqlite": (
        """\
CREATE TABLE IF NOT EXISTS dist_task_barrier (
    gid text NOT NULL,
    branch_id text NOT NULL,
    op text NOT NULL,
    barrier_id text NOT NULL,
    reason text NOT NULL,
    answer text,
    created_at text NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (gid, branch_id, op, barrier_id)
) WITHOUT ROWID""",
        "CREATE INDEX IF NOT EXISTS dist_task_barrier_created_at ON dist_task_barrier (created_at)",
    ),
}
"""What makes the table, by database, for migrations of the service's own. MySQL's is MariaDB's as well."""

_VALUES = "dist_task_barrier (gid, branch_id, op, barrier_id, reason, answer) VALUES (?, ?, ?, ?, ?, ?)"
_KEY = "gid = ? AND branch_id = ? AND op = ? AND barrier_id = ?"

INSERT = {
    "postgresql": f"INSERT INTO {_VALUES} ON CONFLICT DO NOTHING",
    # IGNORE swallows other errors as well, which is why a Call is checked to the letter. The other way, ON DUPLICATE
    # KEY UPDATE, counts a row that was there where the driver asks for found rows, as Django and SQLAlchemy do.
    "mysql": f"INSERT IGNORE INTO {_VALUES}",
    "sqlite": f"INSERT INTO {_VALUES} ON CONFLICT DO NOTHING",
}
_ANSWER = f"SELECT answer FROM dist_task_barrier WHERE {_KEY}"  # noqa: S608  # names of columns
ANSWER = {
    "postgresql": _ANSWER,
    # What was committed since the snapshot of a REPEATABLE READ is seen by reads with a lock only.
    "mysql": f"{_ANSWER} LOCK IN SHARE MODE",
    "sqlite": _ANSWER,
}
KEEP = f"UPDATE dist_task_barrier SET answer = ? WHERE {_KEY} AND answer IS NULL"  # noqa: S608  # names of columns
