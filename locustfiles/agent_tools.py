"""Agents' sessions of many tool calls: `locust -f locustfiles/agent_tools.py --host http://127.0.0.1:8000`.

A mock to try it on: `servebench mock --port 8000`.
"""

from servebench.drive.users import ScenarioUser


class AgentToolsUser(ScenarioUser):
    scenario = "agent_tools"
