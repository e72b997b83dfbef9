"""`cippus evaluate`: figures of the real parts on collections that somebody else judged."""
