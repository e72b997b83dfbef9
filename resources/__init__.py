"""The only code that opens connections. Retries and throttling live here."""
