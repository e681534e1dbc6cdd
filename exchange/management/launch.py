"""Runs a module as a program under a name that shows in the process list.

python -m exchange.management.launch NAME MODULE [ARGUMENT...]
"""

import runpy
import sys

from setproctitle import setproctitle

from exchange.kernel import garbage


def main(arguments: list[str]) -> None:
    """Name the process, then become the module."""
    garbage.search_rarely()
    name, module, *rest = arguments
    setproctitle(f"exchange {name}")
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
