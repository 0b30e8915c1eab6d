"""The four-eyes rule: what a person may only ask for, and what a second one does with it."""
