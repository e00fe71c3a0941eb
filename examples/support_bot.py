"""A Locust user of one's own, with everything that servebench measures kept.

locust -f examples/support_bot.py --host http://127.0.0.1:8000
"""

from pathlib import Path

from servebench.drive.users import ScenarioUser


class SupportUser(ScenarioUser):
    scenario = str(Path(__file__).with_name("support_bot.yaml"))
