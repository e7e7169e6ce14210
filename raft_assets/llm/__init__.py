"""Paid calls to models: requests, clients, limits, retries, the call store, the ledger, prices, budgets and batches."""
