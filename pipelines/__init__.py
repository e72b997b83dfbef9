"""When and where it runs: definitions, jobs, schedules, checks, the command line, the embedded stack."""
