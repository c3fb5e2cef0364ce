# SPDX-License-Identifier: LGPL-2.1-or-later
"""Running a function as somebody else."""
import os
import pickle
import traceback


def run_as(uid, gid, groups, function):
    """Calls function() in a child with these ids and returns what it gives; it has to pickle."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
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
    os.close(writer)
    with open(reader, 'rb') as pipe:
        good, answer = pickle.loads(pipe.read())
    os.waitpid(child, 0)
    assert good, answer
    return answer
