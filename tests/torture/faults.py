"""Faults other than a kill: disks, checkpoints, clocks, two processes, W&B."""

from __future__ import annotations

from tests.torture import checkpoint_faults, disk_faults, process_faults
from tests.torture.fault import Fault

FAULTS = [
    Fault("damaged checkpoint", checkpoint_faults.damaged_checkpoint),
    Fault("both checkpoints damaged", checkpoint_faults.two_damaged_checkpoints),
    Fault("a checkpoint that holds code", checkpoint_faults.checkpoint_with_code),
    Fault("full disk", disk_faults.full_disk),
    Fault("file too large for a quota", disk_faults.file_size_limit),
    Fault("read-only folders", disk_faults.read_only),
    Fault("two processes in one run folder", process_faults.two_processes),
    Fault("the parent of two processes killed", process_faults.killed_parent),
    Fault("clock going backwards", process_faults.clock_backwards),
    Fault("W&B failing in every call", process_faults.wandb_down),
    Fault("killed while W&B is offline", process_faults.wandb_killed),
]
