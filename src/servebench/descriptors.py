"""Descriptors: the kernel's table of a process's open files grows before the load, not under it.

When a process with threads opens its 257th file, its 513th and so on, Linux makes a table of twice the size
and waits until no processor can be reading the old one (expand_fdtable in fs/file.c, synchronize_rcu): 10 to
15 ms on a busy machine, in which every stream of a client or a server waits. A table never shrinks.
"""

import fcntl
import os
import resource


def make_room(fd: int, count: int) -> None:
    """For `count` open files, or as many as this process may have. fd: any file that is open."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if limit == resource.RLIM_INFINITY else min(count, limit)
    try:
        os.close(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, most - 1))
    except OSError:
        return  # so many are open already, or may not be: the table grows as it must
