"""Saved views: the filters of a list of the console under a name, for one's own use or for everybody's."""
