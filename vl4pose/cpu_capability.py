"""Which of its CPU's vector instructions the compiled core uses: never a question of results.

The core holds each kernel once for every set of instructions, and uses the widest set that the
machine has, unless the environment variable ``VL4POSE_CPU_CAPABILITY`` names another. The results
are the same bit for bit.
"""

from __future__ import annotations

from vl4pose import _core
from vl4pose._options import choice

__all__ = ["cpu_capabilities", "get_cpu_capability", "set_cpu_capability"]


def cpu_capabilities() -> tuple[str, ...]:
    """Return the sets of vector instructions that the core can use on this machine.

    Returns
    -------
    tuple of str
        The narrowest first: "baseline", which is what every CPU of the architecture has, and on
        x86-64 "avx2" and "avx512" where the machine has them.
    """
    return tuple(_core.cpu_capabilities())


def get_cpu_capability() -> str:
    """Return the set of vector instructions in use.

    Returns
    -------
    str
        One of :func:`cpu_capabilities`: the one that was set, else the one that the environment
        variable ``VL4POSE_CPU_CAPABILITY`` names, else the last.

    Raises
    ------
    ValueError
        If the environment variable names none of them; every operation then raises it as well.
    """
    return _core.cpu_capability()


def set_cpu_capability(capability: str) -> None:
    """Use another set of vector instructions, in all threads from the next call on.

    The results stay the same bit for bit. It is for measurements, and for finding out whether a
    fault lies with one of the sets.

    Parameters
    ----------
    capability : str
        One of :func:`cpu_capabilities`.

    Raises
    ------
    TypeError
        If ``capability`` is not a string.
    ValueError
        If it is none of them.
    """
    valid = cpu_capabilities()
    _core.set_cpu_capability(choice(capability, "capability", valid, " on this machine"))
