"""Short chat, one-call tool use and long context in one run: `locust -f locustfiles/mixed.py --host http://127.0.0.1:8000`.

A mock to try it on: `servebench mock --port 8000`.
"""

from servebench.drive.users import ScenarioUser


class MixedUser(ScenarioUser):
    scenario = "mixed"
