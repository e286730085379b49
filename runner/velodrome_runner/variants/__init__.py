"""What makes a trained model smaller or faster before it is evaluated: one module for each step."""

from velodrome_runner.variants.compiling import own_folder
from velodrome_runner.variants.optimizing import REASONS, Optimized, optimize

__all__ = ["REASONS", "Optimized", "optimize", "own_folder"]
