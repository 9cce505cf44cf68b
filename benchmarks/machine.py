"""The class of a machine: what its figures depend on, and nothing that names it."""

import os
import platform


def machine_class() -> str:
    """Return kernel, architecture, cores, memory and Python in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    return (
        f"{platform.system()} {kernel}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{memory / (1 << 30):.0f} GiB of memory, Python {platform.python_version()}"
    )
