"""The process that runs one trial: it trains a model, evaluates it, times it, and reports."""
