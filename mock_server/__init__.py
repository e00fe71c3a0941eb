"""The OpenAI-compatible HTTP front of the engine, in the dialect of the xAI API. A process of its own."""
