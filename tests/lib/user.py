# SPDX-License-Identifier: LGPL-2.1-or-later
"""Running a function as somebody else."""
import os
import pickle
import signal
import traceback

from deadline import Deadline


class Errand:
    """A function that somebody else is at: with Errand(...) as errand: ... errand.result()

    Only for the main thread. The child has nothing but the thread that forked it, and would wait forever for a lock
    that another one held just then, of libdbus for example."""

    def __init__(self, uid, gid, groups, function):
        """Calls function() in a child with these ids; what it gives has to pickle."""
        reader, writer = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            os.close(reader)
            self._run(uid, gid, groups, function, writer)
        os.close(writer)
        self._answer = open(reader, 'rb')

    @staticmethod
    def _run(uid, gid, groups, function, writer):
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            answer = pickle.dumps((True, function()))
        except BaseException:  # the child must not go on as a second test run
            answer = pickle.dumps((False, traceback.format_exc()))
        with open(writer, 'wb') as pipe:
            pipe.write(answer)
        os._exit(0)

    def result(self, seconds=60):
        """What the function gave, as soon as it has."""
        Deadline(seconds, 'what somebody else does').readable(self._answer)
        answer = self._answer.read()
        assert answer, 'somebody else was killed'
        good, answer = pickle.loads(answer)
        assert good, answer
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._answer.close()
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)


def run_as(uid, gid, groups, function):
    """Calls function() in a child with these ids and returns what it gives; it has to pickle."""
    with Errand(uid, gid, groups, function) as errand:
        return errand.result()
