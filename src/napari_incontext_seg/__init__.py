"""In-context segmentation: annotate one plane, and a SegGPT model paints the same thing everywhere else."""
