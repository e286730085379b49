"""What the kernel says about this process and this machine: limits, processes below it, and what else runs."""
