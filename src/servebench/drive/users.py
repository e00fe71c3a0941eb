"""The Locust user that a locustfile subclasses: name a scenario, and it is driven and measured.

    from servebench.drive.users import ScenarioUser

    class ChatUser(ScenarioUser):
        scenario = "chat"          # a shipped name, or the path of a YAML file

Closed loop (Locust's own -u): each user sends, waits for the end, thinks, and sends again. Open loop
(--rate, or a scenario run by `servebench run`): arrivals follow the schedule and users only stand by.
"""

from locust import User, constant, task

import gevent

from servebench.drive.hooks import register
from servebench.drive.rig import rig

register()


class ScenarioUser(User):
    """scenario: a shipped scenario's name or a YAML path; None = the one the run names."""

    abstract = True
    wait_time = constant(0)
    scenario: str | None = None

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if cls.scenario is not None:
            rig.scenario_name = cls.scenario

    @task
    def one(self) -> None:
        session = rig.session
        if session is None or session.open_loop or not session.running:
            gevent.sleep(0.2)
            return
        session.wait_for_start()
        session.request()
