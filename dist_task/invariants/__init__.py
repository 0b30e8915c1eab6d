"""What must be true of the rows at any moment (docs/guarantees.md), as questions that the database answers."""
