"""The accounts in the store: timings, the ledger of used work, and budgets."""
