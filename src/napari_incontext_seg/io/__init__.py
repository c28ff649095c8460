"""Files in and out: stacks, collections and labels as TIFF, PNG/JPEG, NumPy and OME-Zarr; pictures; bundled samples."""
