"""When and where the stages run.

Belongs here: definitions, automation, checks, jobs, the command, the embedded stack.
Not here: what a stage does (assets/), connections (resources/).
"""

import os
import warnings

from resources.cpu import use_one_blas_thread
from resources.foreign_variables import ignore_foreign_variables
from resources.proxies import exempt_loopback

# Here, because every entry point imports this package first: the command, the code location, workers, benches.
exempt_loopback(os.environ)
ignore_foreign_variables(os.environ)
use_one_blas_thread(os.environ)
# dagster.BetaWarning, without importing Dagster: BackfillPolicy is in beta.
warnings.filterwarnings("ignore", message=".* is currently in beta")
