"""Documents of 64k to 128k tokens: `locust -f locustfiles/long_context.py --host http://127.0.0.1:8000`.

A mock to try it on: `servebench mock --port 8000`.
"""

from servebench.drive.users import ScenarioUser


class LongContextUser(ScenarioUser):
    scenario = "long_context"
