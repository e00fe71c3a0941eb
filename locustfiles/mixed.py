"""Short chat, one-call tool use and long context in one run: `locust -f locustfiles/mixed.py --host http://127.0.0.1:8000` (a mock: `servebench mock --port 8000`)."""

from servebench.drive.users import ScenarioUser


class MixedUser(ScenarioUser):
    scenario = "mixed"
