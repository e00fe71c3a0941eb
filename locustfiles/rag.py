"""Retrieved passages and a question: `locust -f locustfiles/rag.py --host http://127.0.0.1:8000`.

A mock to try it on: `servebench mock --port 8000`.
"""

from servebench.drive.users import ScenarioUser


class RagUser(ScenarioUser):
    scenario = "rag"
