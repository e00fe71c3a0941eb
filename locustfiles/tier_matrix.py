"""The tier matrix's workload on one tier: `locust -f locustfiles/tier_matrix.py --host http://127.0.0.1:8000`.

--model chooses the tier; `servebench run tier_matrix` runs them all side by side.
"""

from servebench.drive.users import ScenarioUser


class TierMatrixUser(ScenarioUser):
    scenario = "tier_matrix"
