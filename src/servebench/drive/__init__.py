"""How load is driven: Locust users, pacer, workers."""
