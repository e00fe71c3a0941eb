"""Short chat turns: `locust -f locustfiles/chat.py --host http://127.0.0.1:8000`.

A mock to try it on: `servebench mock --port 8000`.
"""

from servebench.drive.users import ScenarioUser


class ChatUser(ScenarioUser):
    scenario = "chat"
