import sys

from fusedgmm.cli import main

sys.exit(main())
