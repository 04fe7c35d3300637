import sys

from fusedgmm._cli import main

sys.exit(main())
