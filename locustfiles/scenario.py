"""Any scenario: `locust -f locustfiles/scenario.py --scenario NAME_OR_FILE --host http://127.0.0.1:8000`."""

from servebench.drive.users import ScenarioUser


class AnyScenarioUser(ScenarioUser):
    scenario = None  # named by --scenario, or by the run that started this
