"""How it is shown: Prometheus, HTML report, Markdown, JUnit."""
