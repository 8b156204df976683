"""The notebook that goes to the board with the driver; the flow makes accelerator.ipynb of it."""

# %% [markdown]
# # The accelerator on this board
#
# Run the cells from the top, on a board with a PYNQ 3 image, in the folder that `deploy.sh` has
# made. `has_core.bit` and `has_core.hwh` lie one folder up.

# %%
import numpy as np
from has_driver import Accelerator, DriverError

core = Accelerator()
print(core.status())

# %% [markdown]
# ## The accuracy that the report promised
#
# `schedule/images.npz` came with the build: held-out images as codes, their labels, and the logits
# that the engine gives for them on an array with the profile's faults.

# %%
job = core.expected()
classes = core.classes_of_codes(job.codes)
promised = job.classes(core.built)
print(f"{(classes == job.labels).sum()} of {len(classes)} right on this board")
print(f"{(promised == job.labels).sum()} of {len(classes)} right by the engine")

# %% [markdown]
# ## Every logit, every bit of every memory
#
# Where the chip's faults are those of the profile, no logit differs. A bit of a memory that is not
# as it was written is named by its layer, PE and row.

# %%
found = core.verify()
print(found)

# %% [markdown]
# ## How fast
#
# Images a second through this program, and of the core alone. Cycles of each stage.

# %%
print(core.throughput())
for name, cycles in core.stage_cycles().items():
    print(f"{name:>12} {cycles:>8} cycles")

# %% [markdown]
# ## Your own images
#
# Real numbers, as the network was trained on them: `[n, channels, height, width]`, or
# `[n, features]` of a network that takes vectors.

# %%
height, width, channels = core.built.in_shape
print(core.classify(np.zeros((1, channels, height, width))))

# %% [markdown]
# ## Another schedule, without another bitstream
#
# Give the `schedule/` folder of another delivery for the same array and layers: a map for the
# faults of *this* chip, say. It is written, read back and compared; what is of another build is
# refused before anything is written.

# %%
try:
    core.load_schedule("schedule")  # the one that was built: put your folder here
    print(core.verify())
except DriverError as error:
    print(error)
