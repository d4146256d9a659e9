# SPDX-License-Identifier: Apache-2.0
"""What the Python programs beside this file share: features are run one after the other and reported."""

import json
import time
import traceback


class Absent(Exception):
    """The feature is not there in this version or this mode."""


class Run:
    """One run of a client; @sandbox is whatever `create` made."""

    sandbox = None


def raises(kinds, call, *args, **kwargs):
    """What of `kinds` the call raises; that it does not is an error."""
    try:
        result = call(*args, **kwargs)
    except kinds as e:
        return e
    raise AssertionError(f"{result!r} instead of {kinds}")


def run_features(features):
    """Run `(name, function)` pairs; each one that is not "create" needs the sandbox that it made.

    Prints a JSON line for each feature. Returns the exit status of the program.
    """
    run, failed = Run(), 0
    for name, feature in features:
        line, start = {"feature": name}, time.monotonic()
        try:
            assert run.sandbox or name == "create", "there is no sandbox"
            feature(run)
        except Absent as e:
            line["absent"] = str(e)
        except BaseException as e:
            failed = 1
            line["failed"] = f"{type(e).__name__}: {e}"[:600]
            traceback.print_exc()
        line["seconds"] = round(time.monotonic() - start, 2)
        print(json.dumps(line), flush=True)
    return failed
