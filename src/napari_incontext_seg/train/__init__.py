"""Training of the embedded model, and of SegGPTs. Needs torch, timm, einops, numpy and safetensors alone."""
