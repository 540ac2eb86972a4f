"""`catbreeds bench`: this service against what people use instead, on one machine.

sides/        what is compared, one module each; each a process group on a port of its own
load/         who asks: wrk in a closed loop, locust in an open one; its `smoke` is `catbreeds load`
project       the only calls into the code that is measured
rounds        takes turns: one side runs, the others are suspended
figures, ratios, report, plot    what comes out
soak, scaling, floor    other questions: does memory grow, what does a pixel cost, what is possible
"""

import os

# As the user's shell has it: `import training` adds to os.environ what must not reach a side.
USER_ENVIRONMENT = dict(os.environ)
