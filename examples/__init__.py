"""Examples that run by one command each: `script/example NAME`. docs/examples.md says what each shows."""
