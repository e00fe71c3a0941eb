"""Code completion with long prompts and short answers: `locust -f locustfiles/code.py --host http://127.0.0.1:8000`.

A mock to try it on: `servebench mock --port 8000`.
"""

from servebench.drive.users import ScenarioUser


class CodeUser(ScenarioUser):
    scenario = "code"
