# SPDX-License-Identifier: Apache-2.0
"""What clients asked of the control API and were told, and what follows from it (R1, R3).

Each answer is entered when it comes. A call without one (the broker died, 5xx) may or may not have
had its effect, and the history says so; everything else is certain:

    201          the sandbox is on record until somebody ends it; its id is nobody else's
    204 of a kill   it is dead, for good
    404 of a kill   right only after a kill that was not answered
"""

import http.client
import threading

from conftest import wait_for
from support import api

WHO = {"made": "history"}


def attempt(broker, method, path, body=None):
    """The answer to a call of the control API; None if there was none, or none that says anything."""
    try:
        answer = api(broker, method, path, body)
    except TimeoutError:
        raise  # no wait is that long: R12
    except (OSError, http.client.HTTPException):
        return None
    return answer if answer.status < 500 else None


class History:
    def __init__(self, broker):
        self.broker, self.lock = broker, threading.Lock()
        self.alive, self.asked, self.gone = set(), set(), set()
        self.created = self.unanswered = 0
        self.wrong = []

    def create(self):
        """The id of a new sandbox, or None."""
        answer = attempt(self.broker, "POST", "/v2/sandboxes",
                         {"templateID": "base", "timeout": 3600, "metadata": WHO})
        with self.lock:
            if not answer:
                self.unanswered += 1
                return None
            if answer.status != 201:
                self.wrong.append(f"a create was answered {answer.status} {answer.text}")
                return None
            new = answer.json()["sandboxID"]
            if new in self.alive | self.asked | self.gone:
                self.wrong.append(f"{new} was given twice")
            self.created += 1
            self.alive.add(new)
            return new

    def kill(self, sandbox_id):
        """Whether it is known to be dead now."""
        answer = attempt(self.broker, "DELETE", f"/sandboxes/{sandbox_id}")
        with self.lock:
            self.alive.discard(sandbox_id)
            if not answer:
                self.asked.add(sandbox_id)
                return False
            if answer.status == 404 and sandbox_id not in self.asked:
                self.wrong.append(f"{sandbox_id} was lost before its kill")
            elif answer.status not in (204, 404):
                self.wrong.append(f"a kill was answered {answer.status} {answer.text}")
            self.asked.discard(sandbox_id)
            self.gone.add(sandbox_id)
            return True

    def listed(self):
        """Every sandbox of the history's clients that the broker has; None while it cannot say."""
        found, path = set(), "/v2/sandboxes?limit=100&metadata=made%3Dhistory"
        token = ""
        while token is not None:
            answer = attempt(self.broker, "GET", path + (f"&nextToken={token}" if token else ""))
            if not answer:
                return None
            assert answer.status == 200, answer.text
            found |= {s["sandboxID"] for s in answer.json()}
            token = answer.headers.get("X-Next-Token")
        return found

    def settled(self):
        """listed() once the broker can say; no call is under way."""
        return wait_for(lambda: [found] if (found := self.listed()) is not None else None,
                        30, "a list")[0]

    def violations(self):
        """What the promises forbid, given all that exists. No call is under way."""
        listed = self.settled()
        with self.lock:
            strangers = listed - self.alive - self.asked - self.gone
            wrong = list(self.wrong)
            wrong += [f"{i} was answered with 201 and is lost" for i in self.alive - listed]
            wrong += [f"{i} is back from the dead" for i in self.gone & listed]
            if len(strangers) > self.unanswered:
                wrong.append(f"{len(strangers)} sandboxes of {self.unanswered} unanswered creates")
            return wrong

    def __str__(self):
        return (f"{self.created} creates and {len(self.gone)} kills answered, "
                f"{self.unanswered} creates not")
